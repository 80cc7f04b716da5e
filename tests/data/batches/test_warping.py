"""Crops of images and masks, sampled image by image and gathered from a flat buffer."""

import math
from collections.abc import Callable

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg.data.batches.batch import label_tensor
from hieraseg.data.batches.gathering import gather_images, gather_masks
from hieraseg.data.batches.warping import Frame, sample_image, sample_mask, visible_part
from tests.support.sampling import (
    FILL,
    VOID,
    exact,
    matrices,
    plain_image,
    plain_mask,
    pyramid,
    random_image,
    random_mask,
)

SIZE = (7, 9)
SIZES = st.sampled_from([SIZE, (1, 8), (6, 1)])
SIDES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def sampled(
    levels: list[np.ndarray], matrix: Tensor, level: float, size: tuple[int, int]
) -> Tensor:
    """One image by `warping`."""
    stored = levels[math.floor(level) : math.ceil(level) + 1]
    crop = np.empty((3, *size), np.float32)
    visible = visible_part(matrix.numpy(), size, levels[0].shape[:2])
    sample_image(stored, level, visible, FILL, crop)
    return torch.from_numpy(crop)


def gathered(
    levels: list[np.ndarray], matrix: Tensor, level: float, size: tuple[int, int]
) -> Tensor:
    """The same image by `gathering`, behind another one in the buffer."""
    before = np.zeros(11, np.uint8)
    pixels = torch.from_numpy(np.concatenate([before, *(one.ravel() for one in levels)]))
    starts = np.cumsum([11, *(one.size for one in levels)])[None, :-1]
    shapes = torch.tensor([levels[0].shape[:2]])
    (crop,) = gather_images(
        pixels,
        torch.from_numpy(starts),
        shapes,
        matrix[None],
        torch.tensor([level]),
        Frame(size, FILL, VOID),
    )
    return crop


def sampled_mask(
    mask: np.ndarray, matrix: Tensor, size: tuple[int, int], void: int = VOID
) -> Tensor:
    """One mask by `warping`."""
    visible = visible_part(matrix.numpy(), size, mask.shape)
    return label_tensor(sample_mask(mask, visible, Frame(size, FILL, void)))


def gathered_mask(mask: np.ndarray, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """The same mask by `gathering`."""
    labels = torch.from_numpy(np.concatenate([np.zeros(5, mask.dtype), mask.ravel()]))
    shapes = torch.tensor([mask.shape])
    frame = Frame(size, FILL, VOID)
    return gather_masks(labels, torch.tensor([5]), shapes, matrix[None], frame)[0]


@pytest.mark.parametrize("sample", [sampled, gathered])
@given(sides=SIDES, crop=matrices(), size=SIZES)
def test_images_against_plain_loops(
    sample: Callable[..., Tensor],
    sides: tuple[int, int],
    crop: tuple[Tensor, float],
    size: tuple[int, int],
) -> None:
    levels = pyramid(random_image(*sides))
    found = sample(levels, *crop, size)
    assert found.dtype == torch.float32
    expected = plain_image(levels, *crop, size)
    assert np.abs(found.numpy() - expected).max() < 2e-5


@given(sides=SIDES, crop=matrices(), size=SIZES)
def test_masks_are_exactly_the_nearest_labels(
    sides: tuple[int, int], crop: tuple[Tensor, float], size: tuple[int, int]
) -> None:
    mask = random_mask(*sides)
    expected = plain_mask(mask, crop[0], size)
    for found in (sampled_mask(mask, crop[0], size), gathered_mask(mask, crop[0], size)):
        assert found.dtype == torch.uint8
        assert np.array_equal(found.numpy(), expected)


@given(sides=SIDES, crop=matrices())
def test_an_image_has_the_fill_color_where_its_mask_is_void(
    sides: tuple[int, int], crop: tuple[Tensor, float]
) -> None:
    levels = pyramid(np.zeros((*sides, 3), np.uint8))
    image = sampled(levels, *crop, SIZE)
    outside = sampled_mask(np.zeros(sides, np.uint8), crop[0], SIZE) == VOID
    assert torch.equal(image != 0, outside.expand(3, *SIZE))
    assert torch.equal(
        image[:, outside], torch.tensor(FILL)[:, None].expand(-1, int(outside.sum()))
    )


def test_whole_pixels_are_copied_exactly() -> None:
    image, mask = random_image(12, 15), random_mask(12, 15)
    for mirror, columns in ((1, slice(4, 13)), (-1, slice(12, 3, -1))):
        matrix = exact([[mirror, 0, 4 if mirror > 0 else 13], [0, 1, 3]])
        expected = image[3:10, columns]
        for sample in (sampled, gathered):
            crop = sample(pyramid(image), matrix, 0.0, SIZE)
            torch.testing.assert_close(
                crop, torch.from_numpy(expected.transpose(2, 0, 1) / 255).float(), rtol=0, atol=1e-6
            )
        labels = sampled_mask(mask, matrix, SIZE)
        assert np.array_equal(labels.numpy(), mask[3:10, columns])


def test_a_point_on_the_border_of_two_pixels_belongs_to_the_right_or_lower_one() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    matrix = exact([[1, 0, 0.5], [0, 1, 0.5]])
    expected = [[5, 6, 7, VOID], [9, 10, 11, VOID], [VOID] * 4]
    assert sampled_mask(mask, matrix, (3, 4)).tolist() == expected
    assert gathered_mask(mask, matrix, (3, 4)).tolist() == expected


def test_colors_within_half_a_pixel_of_the_border_are_those_of_the_border() -> None:
    """Enlarged four times, by hand: two pixels of brightness 0 and 255."""
    image = np.array([[[0] * 3, [255] * 3]], np.uint8)
    matrix = exact([[0.25, 0, -0.25], [0, 1, 0]])
    fill = FILL[0]
    expected = [fill, 0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, fill]
    for sample in (sampled, gathered):
        crop = sample(pyramid(image), matrix, 0.0, (1, 10))
        assert crop[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_smaller_image_is_blended_from_two_stored_sizes() -> None:
    """By hand: the levels are 0, 100 and 200 everywhere."""
    levels = [np.full((16 // 2**k, 16 // 2**k, 3), 100 * k, np.uint8) for k in range(3)]
    for level, expected in ((0.0, 0), (0.25, 25), (1.0, 100), (1.5, 150), (2.0, 200)):
        scale = 2**level
        matrix = exact([[scale, 0, 0], [0, scale, 0]])
        for sample in (sampled, gathered):
            crop = sample(levels, matrix, level, (4, 4))
            torch.testing.assert_close(crop, torch.full((3, 4, 4), expected / 255))


def test_stripes_do_not_alias() -> None:
    """Stripes of one pixel become gray at half and a quarter of the size, not black or white."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, ::2] = 255
    for level in (1.0, 1.6, 2.0):
        matrix = exact([[2**level, 0, 0], [0, 2**level, 0]])
        for sample in (sampled, gathered):
            crop = sample(pyramid(image), matrix, level, (16, 16))
            assert (crop - 0.5).abs().max() < 0.01


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_coordinates_are_exact_in_large_images(angle: float) -> None:
    """The last pixels of an image of 16,384 columns."""
    image, mask = random_image(40, 16_384), random_mask(40, 16_384)
    levels = pyramid(image)
    cos, sin = math.cos(angle) * 1.3, math.sin(angle) * 1.3
    matrix = exact([[cos, -sin, 16_374.3], [sin, cos, 12.7]])
    expected = plain_image(levels, matrix, math.log2(1.3), SIZE)
    for sample in (sampled, gathered):
        crop = sample(levels, matrix, math.log2(1.3), SIZE)
        assert np.abs(crop.numpy() - expected).max() < 2e-5
    labels = plain_mask(mask, matrix, SIZE)
    assert np.array_equal(sampled_mask(mask, matrix, SIZE).numpy(), labels)
    assert np.array_equal(gathered_mask(mask, matrix, SIZE).numpy(), labels)


def test_masks_of_uint16_become_int32() -> None:
    mask = np.array([[300, 65_535]], np.uint16)
    labels = sampled_mask(mask, exact([[1, 0, 0], [0, 1, 0]]), (2, 2), 1000)
    assert labels.dtype == torch.int32
    assert labels.tolist() == [[300, 65_535], [1000, 1000]]


def test_a_gathered_crop_is_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read back, and nothing depends on the data's values: it compiles as a whole."""
    frame = Frame(SIZE, FILL, VOID)

    def crops(
        pixels: Tensor,
        starts: Tensor,
        labels: Tensor,
        shapes: Tensor,
        matrix: Tensor,
        level: Tensor,
    ) -> tuple[Tensor, Tensor]:
        images = gather_images(pixels, starts, shapes, matrix, level, frame)
        return images, gather_masks(labels, starts[:, 0], shapes, matrix, frame)

    # The compiler cannot look into the checks of shapes.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    compiled = torch.compile(crops, fullgraph=True, backend="eager")
    for seed, level in ((0, 0.0), (1, 1.3)):
        levels = pyramid(random_image(12, 15, seed))
        starts = np.cumsum([0, *(one.size for one in levels)])[None, :-1]
        arguments = (
            torch.from_numpy(np.concatenate([one.ravel() for one in levels])),
            torch.from_numpy(starts),
            torch.from_numpy(random_mask(12, 15, seed).ravel()),
            torch.tensor([[12, 15]]),
            exact([[[1.5, 0.2, -1], [-0.2, 1.5, 0.3]]]),
            torch.tensor([level]),
        )
        for found, expected in zip(compiled(*arguments), crops(*arguments), strict=True):
            assert torch.equal(found, expected)
