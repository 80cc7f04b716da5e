"""The store of masks at their own resolution."""

from pathlib import Path

import numpy as np
import pytest

from hieraseg import Hierarchy
from hieraseg.data.targets import open_targets
from tests.support.datasets import HIERARCHY, FakeDataset

SHAPES = [(12, 10), (1, 7), (30, 2)]


def test_masks_keep_their_shape_and_labels() -> None:
    dataset = FakeDataset(shape=SHAPES, length=7)
    targets = open_targets(dataset, "val", HIERARCHY)
    assert len(targets) == 7
    for row, id in enumerate(dataset.ids("val")):
        mask = targets.mask(row)
        assert mask.dtype == np.uint8
        assert mask.shape == SHAPES[row % 3]
        np.testing.assert_array_equal(mask, dataset.mask(id))


def test_masks_of_any_memory_layout() -> None:
    masks = {"val0": np.asfortranarray(np.eye(3, 5, dtype=np.uint8)), "val1": np.eye(4).T[::-1]}
    masks["val1"] = masks["val1"].astype(np.uint8)[:, ::2]
    targets = open_targets(FakeDataset(length=2, masks=masks), "val", HIERARCHY)
    for row in range(2):
        np.testing.assert_array_equal(targets.mask(row), masks[f"val{row}"])


def test_opening_again_decodes_nothing(cache: Path) -> None:
    dataset = FakeDataset(shape=SHAPES)
    first = open_targets(dataset, "val", HIERARCHY)
    second = open_targets(dataset, "val", HIERARCHY)
    assert sorted(dataset.mask_calls) == dataset.ids("val")
    assert dataset.image_calls == []
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


def test_other_content_is_another_store() -> None:
    one_more = Hierarchy.from_tree(["background", "head", "leg", "arm"], void=[255])
    variants = [
        (FakeDataset(), "val", HIERARCHY, ""),
        (FakeDataset(version="2"), "val", HIERARCHY, ""),
        (FakeDataset(), "train", HIERARCHY, ""),
        (FakeDataset(), "val", one_more, ""),
        (FakeDataset(), "val", HIERARCHY, "another version of a plugin file"),
    ]
    for dataset, split, hierarchy, code in variants:
        open_targets(dataset, split, hierarchy, code)
        assert dataset.mask_calls, "not decoded"
    resized = FakeDataset(size=(4, 4))
    open_targets(resized, "val", HIERARCHY)
    assert resized.mask_calls == [], "the input size does not matter"


def test_pixels_are_memory_mapped_and_masks_are_copies() -> None:
    targets = open_targets(FakeDataset(), "val", HIERARCHY)
    assert isinstance(targets.pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        targets.pixels[0] = 0
    before = targets.mask(1)
    targets.mask(1)[:] = 77
    np.testing.assert_array_equal(targets.mask(1), before)
