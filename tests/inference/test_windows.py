"""Sliding windows: against a loop over windows in float64, without seams, in little memory."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from hieraseg import Prediction
from hieraseg.devices import start_fabric
from hieraseg.inference.bands import predict_classes
from hieraseg.inference.rows import ResizedRows, resized_image_rows
from hieraseg.inference.windows import blending_weights, slide, window_slices
from tests.support.inference import (
    TREE,
    Convolutional,
    Pointwise,
    Recorded,
    scores_of,
    segmenter,
)
from tests.support.sampling import random_image
from tests.support.tensors import Watch

SIDES = st.integers(1, 40)
OVERLAPS = st.sampled_from([0.0, 0.25, 0.5, 0.9])


# Positions and weights.


@given(SIDES, SIDES, OVERLAPS)
def test_windows_cover_a_side(side: int, window: int, overlap: float) -> None:
    slices = window_slices(side, window, overlap)
    assert {one.stop - one.start for one in slices} == {min(window, side)}
    assert set().union(*(range(side)[one] for one in slices)) == set(range(side))
    starts = [one.start for one in slices]
    assert starts == sorted(set(starts))
    assert (starts[0], slices[-1].stop) == (0, side)
    for one, following in pairwise(slices):
        assert one.stop - following.start >= round(overlap * window) - 1


def test_windows_by_hand() -> None:
    assert window_slices(10, 4, 0.5) == [slice(0, 4), slice(2, 6), slice(4, 8), slice(6, 10)]
    assert window_slices(9, 4, 0) == [slice(0, 4), slice(4, 8), slice(5, 9)]
    assert window_slices(3, 4, 0.5) == [slice(0, 3)]


def test_weights_by_hand() -> None:
    """Windows that overlap by 2 of 6 pixels; then some that do not, but for the last one."""
    found = [weights.tolist() for weights in blending_weights([slice(0, 6), slice(4, 10)])]
    assert found == [[1, 1, 1, 1, 0.75, 0.25], [0.25, 0.75, 1, 1, 1, 1]]
    one, two, three = blending_weights([slice(0, 4), slice(4, 8), slice(6, 10)])
    assert one.tolist() == [1, 1, 1, 1]
    assert (two.tolist(), three.tolist()) == ([1, 1, 0.75, 0.25], [0.25, 0.75, 1, 1])


@given(SIDES, SIDES, OVERLAPS)
def test_weights_are_positive_and_sum_to_one(side: int, window: int, overlap: float) -> None:
    slices = window_slices(side, window, overlap)
    total = torch.zeros(side, dtype=torch.float64)
    for one, weights in zip(slices, blending_weights(slices), strict=True):
        assert (weights > 0).all()
        total[one] += weights
    torch.testing.assert_close(total, torch.ones_like(total))


# Against a loop over all windows, in float64.


def in_windows(
    model: Recorded, image: np.ndarray, window: tuple[int, int], overlap: float
) -> list[Tensor]:
    """Logits `[C_l, H, W]` of an image, summed window by window and pixel by pixel."""
    height, width = image.shape[:2]
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].double() / 255
    totals = [torch.zeros(n, height, width, dtype=torch.float64) for n in TREE.num_classes]
    covered = torch.zeros(height, width, dtype=torch.float64)
    slices = [window_slices(*side, overlap) for side in zip(image.shape, window, strict=False)]
    ramps = [[bump(sides, index) for index in range(len(sides))] for sides in slices]
    for (row, down), (column, across) in product(
        *(zip(*both, strict=True) for both in zip(slices, ramps, strict=True))
    ):
        part = pixels[..., row, column]
        padding = [-side % model.stride for side in part.shape[-2:]]
        part = part - model.mean
        part = F.pad(part, (0, padding[1], 0, padding[0])) + model.mean
        with torch.no_grad():
            logits = model(part).logits
        weight = down[:, None] * across
        for total, level in zip(totals, logits, strict=True):
            total[:, row, column] += weight * level[0, :, : len(down), : len(across)]
        covered[row, column] += weight
    return [total / covered for total in totals]


def bump(windows: list[slice], index: int) -> Tensor:
    """The distance to the borders of a window, as a share of its overlap with each neighbor."""
    own = windows[index]
    values = []
    for pixel in range(own.start, own.stop):
        value = 1.0
        if index and windows[index - 1].stop > own.start:
            shared = windows[index - 1].stop - own.start
            value = min(value, (pixel + 0.5 - own.start) / shared)
        if index < len(windows) - 1 and windows[index + 1].start < own.stop:
            shared = own.stop - windows[index + 1].start
            value = min(value, (own.stop - pixel - 0.5) / shared)
        values.append(value)
    return torch.tensor(values, dtype=torch.float64)


CASES = [
    ((23, 31), (8, 12), 0.5),
    ((23, 31), (9, 7), 0.25),
    ((17, 40), (6, 16), 0.0),
    ((13, 12), (10, 10), 0.9),
    ((5, 40), (8, 8), 0.5),
    ((40, 3), (8, 8), 0.5),
    ((4, 5), (8, 8), 0.5),
    ((1, 1), (8, 8), 0.5),
]


@pytest.mark.parametrize(("size", "window", "overlap"), CASES)
@pytest.mark.parametrize("stride", [1, 4])
def test_logits_equal_those_of_a_loop_over_windows(
    size: tuple[int, int], window: tuple[int, int], overlap: float, stride: int
) -> None:
    model, image = Convolutional(stride=stride), random_image(*size)
    model = model.double()
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
    own = segmenter(model, window=window).padded_model()
    with torch.no_grad():
        bands = list(slide(own, lambda rows: pixels[:, :, rows], size, window, overlap))
    for level, expected in enumerate(in_windows(model, image, window, overlap)):
        found = torch.cat([band.logits[level] for band in bands], 2)[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("resize", ["stretch", "shorter"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("size", "window", "overlap"), CASES[:5])
def test_scores_of_scales_and_flips_equal_those_of_whole_logits(
    resize: str, flip: bool, size: tuple[int, int], window: tuple[int, int], overlap: float
) -> None:
    """Each version in windows, resized as a whole by torch, then averaged as scores."""
    scales, image = (0.6, 1.0, 1.7), random_image(*size)
    model = Convolutional(stride=4)
    own = segmenter(
        model, resize=resize, flip=flip, scales=scales, window=window, window_overlap=overlap
    )
    found = scores_of(own, image)
    model = model.double()
    expected = [torch.zeros(n, *size, dtype=torch.float64) for n in TREE.num_classes]
    versions = list(product(scales, (False, True)[: 1 + flip]))
    for scale, mirror in versions:
        shape = [max(round(side * scale), 1) for side in size]
        resized = np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR))
        logits = in_windows(model, resized[:, ::-1] if mirror else resized, window, overlap)
        for total, level in zip(expected, logits, strict=True):
            level = level.flip(-1) if mirror else level
            whole = F.interpolate(level[None], size, mode="bilinear", align_corners=False)
            total += whole[0].softmax(0) / len(versions)
    for one, other in zip(found, expected, strict=True):
        # Pillow may round a color to another integer when it resizes a part of an image.
        assert (one - other).abs().max() < 0.02
        assert (one - other).abs().mean() < 1e-4


def test_windows_see_the_image_at_its_own_resolution() -> None:
    """Whatever the input size of the model, and at each scale."""
    model = Pointwise(stride=4)
    own = segmenter(model, window=(20, 12), window_overlap=0.25, scales=(1.0, 2.0))
    scores_of(own, random_image(10, 10))
    assert model.sizes == [(12, 12)] + [(20, 12)] * 2


# Seams.


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), OVERLAPS, st.booleans())
def test_windows_do_not_change_a_pointwise_model(
    size: tuple[int, int], window: tuple[int, int], overlap: float, flip: bool
) -> None:
    window = (max(window[0], 4), max(window[1], 4))
    model, image = Pointwise(stride=4), random_image(*size)
    settings = {"window": window, "window_overlap": overlap, "flip": flip}
    found = scores_of(segmenter(model, **settings), image)
    plain = Pointwise()
    for one, other in zip(found, scores_of(segmenter(plain), image), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


class Numbered(Recorded):
    """Predicts the same for all pixels of an image, and another for each image."""

    def logits(self, images: Tensor) -> list[Tensor]:
        value = float(len(self.sizes) * 7 % 5)  # 0 to 4
        return [torch.stack([torch.full_like(images[:, 0], v) for v in (value, 0.0)], 1)]


@pytest.mark.parametrize("size", [(64, 90), (65, 71), (100, 33), (40, 200)])
@pytest.mark.parametrize(("window", "overlap"), [(32, 0.5), (32, 0.25), (24, 0.75), (20, 0.9)])
def test_there_is_no_step_at_the_borders_of_windows(
    size: tuple[int, int], window: int, overlap: float
) -> None:
    """Where the logits of windows differ by up to 4, the steps are as small as the ramp's.

    Its weight changes by 1 / overlap in pixels, and where a third window begins, twice of that.
    """
    model = Numbered()
    image = random_image(*size)
    own = segmenter(model, window=(window, window)).padded_model()
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    bands = slide(own, lambda rows: pixels[:, :, rows], size, (window, window), overlap)
    logits = torch.cat([band.logits[0] for band in bands], 2)[0, 0]
    assert logits.max() - logits.min() > 0.5
    largest = 2 * 4 / math.floor(overlap * window)
    for dim in (0, 1):
        assert logits.diff(dim=dim).abs().max() <= largest + 1e-5


# Rows of resized images and logits.


SIZES = st.tuples(SIDES, SIDES)
STEPS = st.integers(1, 9)


@given(SIZES, SIZES, st.lists(STEPS, min_size=1), STEPS)
def test_resized_rows_equal_those_of_the_whole(
    size: tuple[int, int], resized: tuple[int, int], bands: list[int], step: int
) -> None:
    """Whatever the rows of the bands, and the rows that are taken at once."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.rand(1, 2, *size, generator=generator)
    cuts = [min(sum(bands[:index]), size[0]) for index in range(len(bands))] + [size[0]]
    parts = (
        Prediction((whole[:, :, first:last], whole[:, :1, first:last]))
        for first, last in pairwise(cuts)
        if last > first
    )
    rows = ResizedRows(parts, size[0], resized)
    taken = [
        rows.take(slice(start, min(start + step, resized[0])))
        for start in range(0, resized[0], step)
    ]
    expected = F.interpolate(whole, resized, mode="bilinear", align_corners=False)
    found = torch.cat([one.logits[0] for one in taken], 2)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(found[:, :1], torch.cat([one.logits[1] for one in taken], 2))


@given(SIZES, SIZES, STEPS)
def test_rows_of_a_resized_image_equal_those_of_the_whole(
    size: tuple[int, int], resized: tuple[int, int], step: int
) -> None:
    """But for the rounding of Pillow, which sums in integers."""
    image = random_image(*size)
    whole = np.asarray(Image.fromarray(image).resize(resized[::-1], Image.Resampling.BILINEAR))
    for start in range(0, resized[0], step):
        rows = slice(start, min(start + step, resized[0]))
        found = resized_image_rows(image, resized, rows)
        assert found.shape == whole[rows].shape
        assert np.abs(found.astype(int) - whole[rows]).max() <= 1


# Memory.


def largest_tensor(height: int, scales: tuple[float, ...], flip: bool) -> int:
    own = segmenter(Pointwise(stride=4), window=(16, 16), scales=scales, flip=flip)
    with Watch() as watch:
        predict_classes(start_fabric("cpu"), own, random_image(height, 24), (height, 24))
    return watch.largest


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0)])
@pytest.mark.parametrize("flip", [False, True])
def test_tensors_do_not_grow_with_the_height_of_the_image(
    scales: tuple[float, ...], flip: bool
) -> None:
    assert largest_tensor(400, scales, flip) == largest_tensor(100, scales, flip)
