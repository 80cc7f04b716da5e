"""The store of masks at their own resolution."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hieraseg import Hierarchy
from hieraseg.data.stores.targets import open_scored, open_targets
from hieraseg.settings import Evaluation, Input
from tests.support.datasets import HIERARCHY, STRETCHED, FakeDataset

SHAPES = [(12, 10), (1, 7), (30, 2)]
sources = pytest.mark.parametrize("source", ["decoded", "files"])


def stores_in(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


@sources
def test_masks_keep_their_shape_and_labels(source: Any) -> None:
    dataset = FakeDataset(shape=SHAPES, length=7)
    targets = open_targets(dataset, "val", HIERARCHY, store=source)
    assert len(targets) == 7
    for row, id in enumerate(dataset.ids("val")):
        mask = targets.mask(row)
        assert mask.dtype == np.uint8
        assert mask.shape == SHAPES[row % 3]
        np.testing.assert_array_equal(mask, dataset.mask(id))


@sources
def test_masks_of_any_memory_layout(source: Any) -> None:
    masks = {"val0": np.asfortranarray(np.eye(3, 5, dtype=np.uint8)), "val1": np.eye(4).T[::-1]}
    masks["val1"] = masks["val1"].astype(np.uint8)[:, ::2]
    targets = open_targets(FakeDataset(length=2, masks=masks), "val", HIERARCHY, store=source)
    for row in range(2):
        np.testing.assert_array_equal(targets.mask(row), masks[f"val{row}"])


def test_opening_again_decodes_nothing(cache: Path) -> None:
    dataset = FakeDataset(shape=SHAPES)
    open_targets(dataset, "val", HIERARCHY)
    assert set(dataset.mask_calls) == set(dataset.ids("val"))
    dataset.mask_calls.clear()
    open_targets(dataset, "val", HIERARCHY).mask(0)
    assert dataset.mask_calls == dataset.image_calls == []
    assert len(stores_in(cache)) == 1


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


@sources
def test_masks_are_copies(source: Any) -> None:
    dataset = FakeDataset(masks={"val1": np.ones((12, 10), np.uint8)})
    targets = open_targets(dataset, "val", HIERARCHY, store=source)
    targets.mask(1)[:] = 2
    np.testing.assert_array_equal(targets.mask(1), 1)


# The targets of a store.


def test_targets_of_resized_images_are_stored_beside_them(cache: Path) -> None:
    dataset = FakeDataset(shape=SHAPES)
    store, targets = open_scored(dataset, "val", HIERARCHY, STRETCHED, Evaluation())
    assert targets is not None
    assert store.mask(1).shape == (6, 8)
    assert targets.mask(1).shape == (1, 7)
    assert targets.ids == store.ids
    assert len(stores_in(cache)) == 2
    _, none = open_scored(dataset, "val", HIERARCHY, STRETCHED, Evaluation(resolution="input"))
    assert none is None


@sources
def test_targets_of_images_at_their_own_size_are_the_masks_of_the_store(
    cache: Path, source: Any
) -> None:
    dataset = FakeDataset(shape=SHAPES)
    settings = Input(resize="none", store=source)
    _, targets = open_scored(dataset, "val", HIERARCHY, settings, Evaluation())
    assert targets is not None
    for row, id in enumerate(dataset.ids("val")):
        np.testing.assert_array_equal(targets.mask(row), dataset.mask(id))
    assert len(stores_in(cache)) == 1
