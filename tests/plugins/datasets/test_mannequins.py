"""Mannequins: images, masks, splits and arguments."""

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from hieraseg_plugins.datasets.mannequins import Mannequins

PARTS = range(1, 7)


@lru_cache
def sample(count: int = 60) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The first training images `[n, H, W, 3]` and their masks `[n, H, W]`."""
    data = Mannequins()
    ids = data.ids("train")[:count]
    return np.stack([data.image(id) for id in ids]), np.stack([data.mask(id) for id in ids])


def test_images_do_not_depend_on_the_order_of_reading() -> None:
    first, second = Mannequins(image_size=(48, 64)), Mannequins(image_size=(48, 64))
    ids = first.ids("val")[:6]
    drawn = {id: (first.image(id), first.mask(id)) for id in ids}
    for id in first.ids("train")[:30]:
        first.image(id)  # more images than are cached, so that those of `ids` are drawn again
    for id in reversed(ids):
        np.testing.assert_array_equal(second.image(id), drawn[id][0])
        np.testing.assert_array_equal(second.mask(id), drawn[id][1])


def test_returned_arrays_are_copies() -> None:
    data = Mannequins(image_size=(32, 32))
    for read in (data.image, data.mask):
        before = read("train-00001").copy()
        read("train-00001")[:] = 99
        np.testing.assert_array_equal(read("train-00001"), before)


def test_seeds_give_different_images() -> None:
    one, other = Mannequins(image_size=(64, 64)), Mannequins(image_size=(64, 64), seed=1)
    for id in one.ids("train")[:5]:
        assert (one.mask(id) != other.mask(id)).mean() > 0.02
        assert np.abs(one.image(id).astype(int) - other.image(id)).mean() > 5


def test_splits_share_neither_ids_nor_images() -> None:
    data = Mannequins(image_size=(32, 32), train_images=12, val_images=8, holdout_images=5)
    ids = [id for split in data.splits for id in data.ids(split)]
    assert [len(data.ids(split)) for split in ("train", "val", "holdout")] == [12, 8, 5]
    assert len(set(ids)) == 25
    assert len({data.image(id).tobytes() for id in ids}) == 25
    assert len({data.mask(id).tobytes() for id in ids}) == 25


def test_longer_split_starts_with_the_images_of_the_shorter_one() -> None:
    short, long = Mannequins((32, 32), val_images=3), Mannequins((32, 32), val_images=30)
    assert long.ids("val")[:3] == short.ids("val")
    np.testing.assert_array_equal(short.image("val-00002"), long.image("val-00002"))


@pytest.mark.parametrize("size", [(32, 32), (33, 57), (128, 128), (101, 67), (384, 512), (300, 32)])
def test_images_and_masks_have_the_given_size(size: tuple[int, int]) -> None:
    data = Mannequins(image_size=size)
    assert data.image_size == size
    for id in data.ids("train")[:2]:
        image, mask = data.image(id), data.mask(id)
        assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
        assert (mask.shape, mask.dtype) == (size, np.uint8)
        assert mask.max() <= 6
        assert image.std() > 8


def test_every_image_has_a_person_and_parts_are_balanced_as_in_photographs() -> None:
    _, masks = sample()
    assert set(np.unique(masks)) == set(range(7))
    share = np.array([(masks == label).mean() for label in range(7)])
    assert 0.6 < share[0] < 0.85
    assert set(np.argsort(share)[-3:]) <= {0, 2, 4, 5}
    assert share[2] == share[1:].max()
    assert share[1:].min() > 0.01
    assert (masks > 0).any((1, 2)).all()


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_visible_in_many_images_with_varying_area(part: int) -> None:
    _, masks = sample()
    area = (masks == part).sum((1, 2))
    assert (area >= 20).mean() > 0.5
    assert area.std() > 0.4 * area.mean()


def test_people_have_many_positions_and_sizes() -> None:
    _, masks = sample()
    # The most frequent label at each position must not predict people.
    common = np.argmax([(masks == label).sum(0) for label in range(7)], axis=0)
    assert (common > 0).mean() < 0.2
    fill = (masks > 0).mean((1, 2))
    assert fill.min() < 0.15
    assert fill.max() > 0.45


def test_larger_size_shows_the_same_scene() -> None:
    small, large = Mannequins(image_size=(64, 48)), Mannequins(image_size=(256, 192))
    for id in small.ids("train")[:6]:
        a, b = small.mask(id), large.mask(id)[2::4, 2::4]
        assert (a == b).mean() > 0.96
        other = large.mask("holdout-00000")[2::4, 2::4]
        assert (a == other).mean() < 0.93
        block = large.image(id).reshape(64, 4, 48, 4, 3).mean((1, 3))
        assert np.abs(small.image(id) - block).mean() < 14


def test_color_does_not_reveal_the_part() -> None:
    images, masks = sample()
    pixels, labels = images[masks > 0].astype(float), masks[masks > 0]
    half = len(labels) // 2
    means = np.stack([pixels[:half][labels[:half] == part].mean(0) for part in PARTS])
    nearest = ((pixels[half:, None] - means) ** 2).sum(2).argmin(1) + 1
    recalls = [(nearest[labels[half:] == part] == part).mean() for part in PARTS]
    assert np.mean(recalls) < 0.25  # chance is 1/6
    person = images[masks > 0].mean(0) - images[masks == 0].mean(0)
    assert np.abs(person).max() < 30


def test_mask_edges_lie_on_image_edges() -> None:
    images, masks = sample()
    gray = images.mean(3)
    contrast = np.abs(np.diff(gray, axis=2)), np.abs(np.diff(gray, axis=1))

    def strength(shift: int) -> float:
        """Mean contrast across the outlines of people in masks that are shifted by some pixels."""
        people = np.roll(masks, (shift, shift), (1, 2)) > 0
        edges = people[:, :, 1:] != people[:, :, :-1], people[:, 1:] != people[:, :-1]
        return float(np.mean([c[e].mean() for c, e in zip(contrast, edges, strict=True)]))

    aligned = strength(0)
    assert all(aligned > strength(shift) for shift in (-1, 1))
    assert all(aligned > 1.4 * strength(shift) for shift in (-4, 4))


def test_fingerprint_changes_with_the_images() -> None:
    assert Mannequins().fingerprint("train") == Mannequins().fingerprint("train")
    prints = [
        Mannequins().fingerprint("train"),
        Mannequins().fingerprint("val"),
        Mannequins().fingerprint("holdout"),
        Mannequins(seed=1).fingerprint("train"),
        Mannequins(image_size=(128, 64)).fingerprint("train"),
        Mannequins(image_size=(64, 128)).fingerprint("train"),
        Mannequins(train_images=601).fingerprint("train"),
        Mannequins(val_images=121).fingerprint("val"),
        Mannequins(holdout_images=121).fingerprint("holdout"),
    ]
    assert len(set(prints)) == len(prints)
    assert Mannequins(val_images=7).fingerprint("train") == prints[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": (16, 128)}, "image_size must be at least 32, got 16"),
        ({"image_size": (128, 31)}, "image_size must be at least 32, got 31"),
        ({"train_images": 0}, "train_images must be positive, got 0"),
        ({"val_images": -1}, "val_images must be positive, got -1"),
        ({"holdout_images": 0}, "holdout_images must be positive, got 0"),
        ({"seed": -1}, "seed must be non-negative, got -1"),
    ],
)
def test_arguments_out_of_range(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mannequins(**settings)  # type: ignore[arg-type]


def test_unknown_splits_and_ids() -> None:
    data = Mannequins(train_images=5)
    for method in (data.ids, data.fingerprint):
        with pytest.raises(ValueError, match="train, val, holdout"):
            method("test")
    for id in ("train-00005", "test-00000", "train-1", "train", ""):
        with pytest.raises(ValueError, match=r"ids\(split\)"):
            data.image(id)
