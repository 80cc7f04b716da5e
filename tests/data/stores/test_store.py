"""The store of resized images and masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hieraseg import VOID, Hierarchy
from hieraseg.data.shapes import resized_shape
from hieraseg.data.stores.store import Store, open_store
from hieraseg.data.stores.targets import open_targets
from hieraseg.errors import DataError
from hieraseg.settings import Input
from tests.support.datasets import HIERARCHY, STRETCHED, FakeDataset

SHAPES = [(12, 10), (3, 7), (1, 9)]
RESIZES = ("stretch", "shorter", "longer", "none")
resizes = pytest.mark.parametrize("resize", RESIZES)
sources = pytest.mark.parametrize("source", ["decoded", "files"])


def open_train(dataset: Any, settings: Input = STRETCHED, **others: Any) -> Store:
    return open_store(dataset, "train", HIERARCHY, settings, **others)


def stores_in(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


@resizes
@sources
def test_content_is_the_resized_split(resize: Any, source: Any) -> None:
    dataset = FakeDataset(shape=SHAPES)
    settings = Input(size=(6, 8), resize=resize, store=source)
    store = open_train(dataset, settings)
    assert store.ids == dataset.ids("train")
    assert len(store) == 5
    for row, id in enumerate(store.ids):
        shape = resized_shape(dataset.shape_of(id), settings)
        image = Image.fromarray(dataset.image(id)).resize(shape[::-1], Image.Resampling.BILINEAR)
        mask = Image.fromarray(dataset.mask(id)).resize(shape[::-1], Image.Resampling.NEAREST)
        np.testing.assert_array_equal(store.image(row), np.asarray(image))
        np.testing.assert_array_equal(store.mask(row), np.asarray(mask))
        assert tuple(store.shapes[row]) == shape
    pixels = np.concatenate([store.mask(row).ravel() for row in range(5)])
    np.testing.assert_array_equal(store.label_pixels, np.bincount(pixels, minlength=256))


def test_images_of_the_input_size_are_not_resized() -> None:
    dataset = FakeDataset()
    store = open_store(dataset, "val", HIERARCHY, Input(size=(12, 10)))
    np.testing.assert_array_equal(store.image(2), dataset.image("val2"))
    np.testing.assert_array_equal(store.mask(2), dataset.mask("val2"))


def test_masks_of_any_memory_layout() -> None:
    mask = np.arange(15, dtype=np.uint8).reshape(5, 3).T[::-1] % 3
    masks = {"train0": mask, "train1": np.asfortranarray(mask)}
    dataset = FakeDataset(length=2, shape=(3, 5), masks=masks)
    for source in ("decoded", "files"):
        store = open_train(dataset, Input(resize="none", store=source))
        for row in range(2):
            np.testing.assert_array_equal(store.mask(row), mask)


def test_opening_again_decodes_nothing(cache: Path) -> None:
    dataset = FakeDataset()
    first = open_train(dataset)
    assert sorted(dataset.image_calls) == dataset.ids("train")
    assert sorted(dataset.mask_calls) == dataset.ids("train")
    second = open_train(dataset)
    np.testing.assert_array_equal(first.image(3), second.image(3))
    assert len(dataset.image_calls) == len(dataset.mask_calls) == 5
    assert (first.ids, first.fingerprint) == (second.ids, second.fingerprint)
    assert len(stores_in(cache)) == 1


@sources
def test_other_content_is_another_store(cache: Path, source: Any) -> None:
    one_more = Hierarchy.from_tree(["background", "head", "leg", "arm"], void=[255])
    sizes = [Input(size=size, store=source) for size in ((6, 8), (8, 6))]
    shorter = Input(size=(6, 8), resize="shorter", store=source)
    variants = [
        (FakeDataset(), "train", HIERARCHY, sizes[0], ""),
        (FakeDataset(version="2"), "train", HIERARCHY, sizes[0], ""),
        (FakeDataset(), "train", HIERARCHY, sizes[1], ""),
        (FakeDataset(), "train", HIERARCHY, shorter, ""),
        (FakeDataset(), "val", HIERARCHY, sizes[0], ""),
        (FakeDataset(), "train", one_more, sizes[0], ""),
        (FakeDataset(), "train", HIERARCHY, sizes[0], "another version of a plugin file"),
        (FakeDataset(length=4), "train", HIERARCHY, sizes[0], ""),
    ]
    for number, (dataset, split, hierarchy, settings, code) in enumerate(variants, 1):
        assert len(open_store(dataset, split, hierarchy, settings, code)) == dataset.length
        assert dataset.image_calls, "not decoded"
        assert len(stores_in(cache)) == number


@sources
def test_another_void_value_is_another_store(source: Any) -> None:
    """Both trees know the values 0 to 255, but only the second one calls 255 void."""
    masks: dict[str, np.ndarray] = {
        "train0": np.full((12, 10), 255, np.uint8),
        "train1": np.full((12, 10), VOID, np.uint16),
    }
    dataset, settings = FakeDataset(masks=masks), Input(size=(6, 8), store=source)
    names = [str(value) for value in range(256)]
    for hierarchy, void in (
        (Hierarchy.from_tree(names), 256),
        (Hierarchy.from_tree(names[:255], void=[255]), 255),
    ):
        store = open_store(dataset, "train", hierarchy, settings)
        targets = open_targets(dataset, "train", hierarchy, store=source)
        for stored in (store, targets):
            assert (stored.mask(0) == 255).all()
            assert (stored.mask(1) == void).all()


def test_images_at_their_own_size_are_the_same_store_whatever_the_input_size(cache: Path) -> None:
    for size in ((6, 8), (100, 100)):
        open_train(FakeDataset(), Input(size=size, resize="none"))
    assert len(stores_in(cache)) == 1


@sources
def test_arrays_are_read_only(source: Any) -> None:
    dataset = FakeDataset(masks={"train0": np.zeros((12, 10), np.uint8)})
    store = open_train(dataset, Input(resize="none", store=source), levels=2)
    for array in (store.image(0), store.image(0, 1), store.mask(0)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert dataset.masks["train0"].flags.writeable, "an array of the data set was changed"


def test_decoded_arrays_are_views_of_a_file() -> None:
    store = open_train(FakeDataset())
    assert np.shares_memory(store.image(0), store.image(0))
    assert np.shares_memory(store.mask(0), store.mask(0))


def test_fingerprint_is_that_of_the_content() -> None:
    def fingerprint(dataset: FakeDataset, settings: Input = STRETCHED) -> str:
        return open_train(dataset, settings).fingerprint

    first = fingerprint(FakeDataset())
    assert len(first) == 64
    assert fingerprint(FakeDataset(version="a touched file")) == first
    for resize in RESIZES:
        for source in ("decoded", "files"):
            settings = Input(size=(4, 4), resize=resize, store=source)  # type: ignore[arg-type]
            assert fingerprint(FakeDataset(), settings) == first, "not taken before resizing"
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
        open_train(Black(shape=shape, version=str(shape))).fingerprint for shape in shapes
    }
    assert len(fingerprints) == 2


@sources
def test_mask_of_another_size_is_an_error(source: Any) -> None:
    masks = {"train1": np.zeros((10, 12), np.uint8)}
    with pytest.raises(DataError) as caught:
        open_train(FakeDataset(masks=masks), Input(store=source))
    assert str(caught.value).startswith(
        "train1: the image is 10x12 pixels, but its mask is 12x10"
    ), "not width x height"


# Images from files.


def test_files_are_decoded_whenever_they_are_read(cache: Path) -> None:
    dataset = FakeDataset()
    store = open_train(dataset, Input(size=(6, 8), store="files"))
    dataset.image_calls.clear()
    dataset.mask_calls.clear()
    for _ in range(2):
        store.image(1)
        store.mask(4)
    assert dataset.image_calls == ["train1"] * 2
    assert dataset.mask_calls == ["train4"] * 2
    assert list(cache.rglob("*.bin")) == []


def test_files_need_no_index_where_there_is_a_decoded_store(cache: Path) -> None:
    dataset = FakeDataset()
    decoded = open_train(dataset)
    dataset.image_calls.clear()
    files = open_train(dataset, Input(size=(6, 8), store="files"))
    assert dataset.image_calls == []
    assert files.fingerprint == decoded.fingerprint
    assert len(stores_in(cache)) == 1
    files.image(0)
    assert dataset.image_calls == ["train0"], "not read from the file"


def test_files_that_change_while_they_are_used() -> None:
    """The data set's fingerprint tells before a run, and the checksums tell during a run."""
    masks = {"train2": np.zeros((12, 10), np.uint8)}
    store = open_train(FakeDataset(masks=masks), Input(resize="none", store="files"))
    store.mask(2)
    for changed in (np.ones((12, 10), np.uint8), np.zeros((10, 12), np.uint8)):
        masks["train2"] = changed
        with pytest.raises(DataError, match=r"train2: has other pixels than when .*; start again"):
            store.mask(2)


def test_files_that_vanish_while_they_are_used() -> None:
    class Vanishing(FakeDataset):
        def image(self, id: str) -> np.ndarray:
            if len(self.image_calls) == 5:
                raise DataError(f"{id}.jpg: no such image")
            return super().image(id)

    store = open_train(Vanishing(), Input(store="files"))
    with pytest.raises(DataError, match=r"^train1\.jpg: no such image$"):
        store.image(1)


# Smaller sizes.


def half(image: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 pixels, or of what there is at the border, rounded: pixel by pixel."""
    height, width = (-(-side // 2) for side in image.shape[:2])
    found = np.zeros((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            pixels = image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(-1, 3).astype(float)
            found[y, x] = np.floor(pixels.mean(0) + 0.5)
    return found


@sources
def test_levels_are_box_averages_of_the_level_before(source: Any) -> None:
    dataset = FakeDataset(shape=SHAPES)
    store = open_train(dataset, Input(resize="none", store=source), levels=3)
    for row, id in enumerate(store.ids):
        expected = dataset.image(id)
        for level in range(3):
            np.testing.assert_array_equal(store.image(row, level), expected)
            expected = half(expected)


def test_files_are_decoded_once_for_all_sizes_of_an_image() -> None:
    dataset = FakeDataset()
    store = open_train(dataset, Input(size=(6, 8), store="files"), levels=3)
    dataset.image_calls.clear()
    for row in (3, 4):
        for level in (1, 2, 0):
            store.image(row, level)
    assert dataset.image_calls == ["train3", "train4"]


def test_levels_are_built_where_they_are_asked_for(cache: Path) -> None:
    dataset = FakeDataset()
    open_train(dataset)
    assert len(stores_in(cache)) == 1
    store = open_train(dataset, levels=3)
    assert len(stores_in(cache)) == 2
    assert len(dataset.image_calls) == 5, "they are not made from the decoded images"
    assert open_train(dataset, levels=3).image(0, 2).shape == store.image(0, 2).shape == (2, 2, 3)
    assert len(dataset.image_calls) == 5
    assert np.shares_memory(store.image(1, 1), store.image(1, 1)), "computed again"
