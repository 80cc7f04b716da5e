"""Where random crops lie."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hieraseg import Hierarchy
from hieraseg.data.batches.cropping import Cropping, Crops, num_levels
from hieraseg.data.sampling import generator
from hieraseg.draws import Draws
from hieraseg.settings import Augmentation, Input
from tests.support.stores import memory_store

TREE = Hierarchy.from_tree(
    {"0": None, "1": None}, labels={0: "0", 1: "1", 2: "1"}, void=[255], background="0"
)
OFF: dict[str, Any] = {"flip": 0.0, "affine": 1.0}
SIZE = (20, 30)


def crops(
    shape: tuple[int, int], images: int = 400, mask: np.ndarray | None = None, **changes: Any
) -> Crops:
    """Crops of images that all have this shape."""
    image = np.zeros((*shape, 3), np.uint8)
    mask = np.zeros(shape, np.uint8) if mask is None else mask
    store = memory_store([image], [mask])
    cropping = Cropping(store, Augmentation(**{**OFF, **changes}), SIZE, TREE)
    return cropping(torch.zeros(images).long(), Draws(generator(5, 1), images))


def corners(found: Crops) -> tuple[Tensor, Tensor]:
    """The points that the first and the last pixel show, as (x, y)."""
    first = torch.tensor([0.5, 0.5, 1]).double()
    last = torch.tensor([SIZE[1] - 0.5, SIZE[0] - 0.5, 1]).double()
    return found.matrices @ first, found.matrices @ last


def test_crops_lie_anywhere_inside_a_larger_image_at_whole_pixels() -> None:
    first, last = corners(crops((24, 33)))
    assert torch.equal(last - first, torch.tensor([29.0, 19.0]).double().expand(400, 2))
    for axis, room in ((0, 3), (1, 4)):
        places, counts = (first[:, axis] - 0.5).unique(return_counts=True)
        assert places.tolist() == list(range(room + 1))
        expected = 400 / (room + 1)
        assert (counts - expected).abs().max() < 4 * math.sqrt(expected)


def test_a_smaller_image_lies_anywhere_inside_a_crop() -> None:
    """Its height is smaller, its width is not."""
    first, _ = corners(crops((16, 31)))
    assert (first[:, 0] - 0.5).unique().tolist() == [0, 1]
    assert (first[:, 1] - 0.5).unique().tolist() == [-4, -3, -2, -1, 0]


def test_crops_of_scaled_images_reach_both_borders_and_no_further() -> None:
    first, last = corners(crops((40, 60), images=2000, scale=(0.8, 2.0)))
    pixel = (last - first)[:, :1] / (SIZE[1] - 1)  # of the crop, in pixels of the image
    assert pixel.min() == pytest.approx(1 / 2.0, abs=2e-3)
    assert pixel.max() == pytest.approx(1 / 0.8, abs=2e-3)
    sides = torch.tensor([60.0, 40.0])
    begin, end = first - pixel / 2, last + pixel / 2
    assert begin.min() >= -1e-3
    # A scaled image is rounded to whole pixels.
    assert ((end - sides) / pixel).max() <= 0.5 + 1e-3
    assert (begin < 1).any(0).all()
    assert (end > sides - 1).any(0).all()


def test_the_scale_is_uniform_and_sets_the_level() -> None:
    found = crops((40, 60), images=2000, scale=(0.2, 2.0))
    scale = 1 / found.matrices[:, 0, 0]
    assert float(scale.mean()) == pytest.approx(1.1, abs=0.05)
    assert float((scale < 1.1).double().mean()) == pytest.approx(0.5, abs=0.05)
    expected = (-scale.log2()).clamp(0, 2).float()
    torch.testing.assert_close(found.levels, expected, rtol=0, atol=1e-5)
    assert float(found.levels.max()) == 2


@pytest.mark.parametrize(
    ("scale", "levels"),
    [((1.0, 2.0), 1), ((0.9, 1.0), 2), ((0.5, 2.0), 2), ((0.49, 1.0), 3), ((0.1, 1.0), 3)],
)
def test_the_number_of_stored_sizes(scale: tuple[float, float], levels: int) -> None:
    cropped = Input(resize="shorter")
    assert num_levels(cropped, Augmentation(scale=scale)) == levels
    assert num_levels(cropped, Augmentation(scale=scale, affine=0)) == 1
    assert num_levels(Input(), Augmentation(scale=scale)) == 1
    assert int(crops((40, 60), scale=scale).levels.ceil().max()) < levels


def test_a_flip_mirrors_the_crop() -> None:
    plain, mirrored = crops((20, 30)), crops((20, 30), flip=1.0)
    assert not plain.flipped.any()
    assert mirrored.flipped.all()
    point, image = torch.tensor([3.5, 7.5, 1]).double(), torch.tensor([26.5, 7.5]).double()
    assert torch.equal(mirrored.matrices @ point, image.expand(400, 2))
    share = crops((20, 30), images=2000, flip=0.3).flipped.double().mean()
    assert float(share) == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_rotation_is_about_the_center_of_the_crop(flip: float) -> None:
    plain, found = crops((20, 30), flip=flip), crops((20, 30), flip=flip, rotate=40)
    center = torch.tensor([15.0, 10.0, 1]).double()
    torch.testing.assert_close(found.matrices @ center, plain.matrices @ center, rtol=0, atol=1e-4)
    (a, b), (c, d) = (found.matrices[:, row, :2].unbind(1) for row in (0, 1))
    sign = 1 - 2 * flip
    torch.testing.assert_close(a * d - b * c, torch.full_like(a, sign), rtol=0, atol=1e-5)
    angle = torch.rad2deg(torch.atan2(c, d))
    assert angle.abs().max() <= 40
    assert angle.min() < -38
    assert angle.max() > 38


def test_a_shift_is_relative_to_the_crop() -> None:
    plain, found = crops((20, 30)), crops((20, 30), shift=0.2)
    moved = found.matrices[:, :, 2] - plain.matrices[:, :, 2]
    for axis, side in ((0, 30), (1, 20)):
        assert moved[:, axis].abs().max() <= 0.2 * side + 1e-6
        assert moved[:, axis].max() > 0.19 * side
        assert moved[:, axis].min() < -0.19 * side


def test_without_an_affine_transform_crops_are_neither_scaled_nor_rotated() -> None:
    found = crops((24, 33), affine=0.0, scale=(0.5, 0.6), rotate=30, shift=0.5)
    assert torch.equal(found.matrices[:, :, :2], torch.eye(2).double().expand(400, 2, 2))
    share = (crops((24, 33), images=2000, affine=0.3, scale=(0.5, 0.6)).levels > 0).double().mean()
    assert float(share) == pytest.approx(0.3, abs=0.04)


def test_tries_avoid_crops_of_one_class() -> None:
    """Class 1 is a stripe on the left of a wide image; void beside it does not count."""
    mask = np.zeros((20, 300), np.uint8)
    mask[:, :20] = 1
    mask[:, 150:] = 255
    one, ten = (crops((20, 300), mask=mask, crop_tries=tries) for tries in (1, 20))

    def mixed(found: Crops) -> Tensor:
        left = found.matrices[:, 0, 2]
        share = (20 - left).clamp(0, 20) / 30
        return (share > 0.25) & (share < 0.75)

    assert float(mixed(one).double().mean()) < 0.1
    # About one position in 19 is mixed.
    assert float(mixed(ten).double().mean()) > 0.55
    assert torch.equal(one.matrices[mixed(one)], ten.matrices[mixed(one)]), "the first one is taken"


def test_labels_of_one_class_count_together_for_tries() -> None:
    one_label, two_labels = np.ones((24, 33), np.uint8), np.ones((24, 33), np.uint8)
    two_labels[:, ::2] = 2
    expected, found = (crops((24, 33), mask=one, crop_tries=3) for one in (one_label, two_labels))
    assert torch.equal(expected.matrices, found.matrices)


def test_the_last_try_is_taken_where_all_crops_are_one_class() -> None:
    one, three = (crops((24, 33), crop_tries=tries) for tries in (1, 3))
    assert not torch.equal(one.matrices, three.matrices)
    void = crops((24, 33), mask=np.full((24, 33), 255, np.uint8), crop_tries=3)
    assert torch.equal(void.matrices, three.matrices)


def test_crops_of_an_image_do_not_depend_on_those_beside_it() -> None:
    """Shapes and masks of the other images of a batch change nothing."""
    shapes = [(24, 33), (50, 20), (10, 90)]
    images = [np.zeros((*shape, 3), np.uint8) for shape in shapes]
    store = memory_store(images, [image[..., 0] for image in images])
    settings = Augmentation(scale=(0.5, 2.0), rotate=20, shift=0.1, crop_tries=3)
    cropping = Cropping(store, settings, SIZE, TREE)
    whole = cropping(torch.tensor([0, 1, 2, 1]), Draws(generator(1, 2, 3), 4))
    parts = [
        cropping(rows, Draws(generator(1, 2, 3), 4, rank, 2))
        for rank, rows in enumerate((torch.tensor([0, 2]), torch.tensor([1, 1])))
    ]
    for rank, part in enumerate(parts):
        for found, expected in zip(part, whole, strict=True):
            assert torch.equal(found, expected[rank::2])
    other = cropping(torch.tensor([2, 1, 0, 1]), Draws(generator(1, 2, 3), 4))
    assert torch.equal(other.matrices[1], whole.matrices[1])
