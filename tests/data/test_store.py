"""The store of resized images and masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hieraseg import Hierarchy
from hieraseg.data.store import open_store
from hieraseg.errors import DataError
from tests.support.datasets import HIERARCHY, FakeDataset


def test_content_is_the_resized_split() -> None:
    dataset = FakeDataset()
    store = open_store(dataset, "train", HIERARCHY)
    assert store.ids == dataset.ids("train")
    assert len(store) == 5
    assert store.images.shape == (5, 6, 8, 3)
    assert store.masks.shape == (5, 6, 8)
    for row, id in enumerate(store.ids):
        image = Image.fromarray(dataset.image(id)).resize((8, 6), Image.Resampling.BILINEAR)
        mask = Image.fromarray(dataset.mask(id)).resize((8, 6), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(store.images[row], np.asarray(image))
        np.testing.assert_array_equal(store.masks[row], np.asarray(mask))


def test_images_of_the_input_size_are_not_resized() -> None:
    dataset = FakeDataset(size=(12, 10))
    store = open_store(dataset, "val", HIERARCHY)
    np.testing.assert_array_equal(store.images[2], dataset.image("val2"))
    np.testing.assert_array_equal(store.masks[2], dataset.mask("val2"))


def test_opening_again_decodes_nothing(cache: Path) -> None:
    dataset = FakeDataset()
    first = open_store(dataset, "train", HIERARCHY)
    assert sorted(dataset.image_calls) == dataset.ids("train")
    assert sorted(dataset.mask_calls) == dataset.ids("train")
    second = open_store(dataset, "train", HIERARCHY)
    assert len(dataset.image_calls) == len(dataset.mask_calls) == 5
    np.testing.assert_array_equal(first.images, second.images)
    assert (first.ids, first.fingerprint) == (second.ids, second.fingerprint)
    assert len(_stores(cache)) == 1


def _stores(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def test_other_content_is_another_store(cache: Path) -> None:
    one_more = Hierarchy.from_tree(["background", "head", "leg", "arm"], void=[255])
    variants = [
        (FakeDataset(), "train", HIERARCHY, ""),
        (FakeDataset(version="2"), "train", HIERARCHY, ""),
        (FakeDataset(size=(8, 6)), "train", HIERARCHY, ""),
        (FakeDataset(), "val", HIERARCHY, ""),
        (FakeDataset(), "train", one_more, ""),
        (FakeDataset(), "train", HIERARCHY, "another version of a plugin file"),
    ]
    for number, (dataset, split, hierarchy, code) in enumerate(variants, 1):
        open_store(dataset, split, hierarchy, code)
        assert dataset.image_calls, "not decoded"
        assert len(_stores(cache)) == number


def test_other_ids_are_another_store_whatever_the_fingerprint() -> None:
    open_store(FakeDataset(length=4), "train", HIERARCHY)
    more = open_store(FakeDataset(length=5), "train", HIERARCHY)
    assert len(more) == 5


def test_arrays_are_memory_mapped_and_read_only() -> None:
    store = open_store(FakeDataset(), "train", HIERARCHY)
    for array in (store.images, store.masks):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_fingerprint_is_that_of_the_content() -> None:
    def fingerprint(dataset: FakeDataset) -> str:
        return open_store(dataset, "train", HIERARCHY).fingerprint

    first = fingerprint(FakeDataset())
    assert len(first) == 64
    assert fingerprint(FakeDataset(version="a touched file")) == first
    assert fingerprint(FakeDataset(size=(4, 4))) == first, "not taken before resizing"
    changed = FakeDataset().mask("train3").copy()
    changed[0, 0] = (changed[0, 0] + 1) % 3
    others = [
        FakeDataset(version="3", masks={"train3": changed}),
        FakeDataset(version="4", length=4),
    ]
    assert len({first, *map(fingerprint, others)}) == 3


def test_fingerprint_depends_on_the_shape_of_images() -> None:
    class Black(FakeDataset):
        def image(self, id: str) -> np.ndarray:
            return np.zeros((*self.shape_of(id), 3), np.uint8)

        def mask(self, id: str) -> np.ndarray:
            return np.zeros(self.shape_of(id), np.uint8)

    shapes = [(12, 10), (10, 12)]
    fingerprints = {
        open_store(Black(shape=shape, version=str(shape)), "train", HIERARCHY).fingerprint
        for shape in shapes
    }
    assert len(fingerprints) == 2


def test_mask_of_another_size_is_an_error() -> None:
    masks = {"train1": np.zeros((10, 12), np.uint8)}
    with pytest.raises(DataError) as caught:
        open_store(FakeDataset(masks=masks), "train", HIERARCHY)
    assert str(caught.value).startswith(
        "train1: the image is 10x12 pixels, but its mask is 12x10"
    ), "not width x height"
