"""Crops of images by plain loops in float64, and crops at random."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

FILL = (0.5, 0.25, 0.75)
VOID = 255


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise, in which every pixel that is read wrong shows."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_mask(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Labels from 0 to 254, of which no two neighbours are the same in most places."""
    return np.random.default_rng(seed).integers(0, 255, (height, width), dtype=np.uint8)


def halved(image: np.ndarray) -> np.ndarray:
    """An image of half the size, rounded up: means of 2 x 2 pixels."""
    height, width = image.shape[0] % 2, image.shape[1] % 2
    even = np.pad(image, ((0, height), (0, width), (0, 0)), mode="edge").astype(float)
    mean = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return np.floor(mean + 0.5).astype(np.uint8)


def pyramid(image: np.ndarray) -> list[np.ndarray]:
    """An image at the levels 0, 1 and 2 of a store."""
    half = halved(image)
    return [image, half, halved(half)]


def plain_image(
    levels: Sequence[np.ndarray], matrix: Tensor, level: float, size: tuple[int, int]
) -> np.ndarray:
    """A crop of an image, pixel by pixel: float64 `[3, H, W]` in 0..1."""
    crop = np.empty((3, *size))
    height, width = levels[0].shape[:2]
    for i, j in np.ndindex(*size):
        x, y = _point(matrix, i, j)
        if not (0 <= x < width and 0 <= y < height):
            crop[:, i, j] = FILL
            continue
        lower, upper = math.floor(level), math.ceil(level)
        below, above = (_color(levels[k], x / 2**k, y / 2**k) for k in (lower, upper))
        crop[:, i, j] = (below + (above - below) * (level - lower)) / 255
    return crop


def plain_mask(mask: np.ndarray, matrix: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A crop of a mask, pixel by pixel."""
    crop = np.full(size, VOID, mask.dtype)
    height, width = mask.shape
    for i, j in np.ndindex(*size):
        x, y = _point(matrix, i, j)
        if 0 <= x < width and 0 <= y < height:
            crop[i, j] = mask[math.floor(y), math.floor(x)]
    return crop


def _point(matrix: Tensor, row: int, column: int) -> tuple[float, float]:
    (a, b, c), (d, e, f) = matrix.tolist()
    x, y = column + 0.5, row + 0.5
    return a * x + b * y + c, d * x + e * y + f


def _color(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """Bilinear between pixel centers; the color of the border beyond the last ones."""
    height, width = image.shape[:2]
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    left, top = math.floor(x), math.floor(y)
    total = np.zeros(3)
    for row, weight_y in ((top, top + 1 - y), (min(top + 1, height - 1), y - top)):
        for column, weight_x in ((left, left + 1 - x), (min(left + 1, width - 1), x - left)):
            total += weight_x * weight_y * image[row, column]
    return total


def exact(matrix: Any) -> Tensor:
    """A matrix whose entries are multiples of 2**-22, as those of `cropping` are."""
    return (torch.tensor(matrix, dtype=torch.float64) * 2.0**22).round() / 2.0**22


@st.composite
def matrices(draw: st.DrawFn) -> tuple[Tensor, float]:
    """From a crop to an image at random, and its level. Some lie partly or fully outside."""
    scale = draw(st.floats(0.2, 3))
    angle = draw(st.sampled_from([0.0, 0.0, math.pi / 2]) | st.floats(-math.pi, math.pi))
    mirror = draw(st.sampled_from([1, -1]))
    x, y = draw(st.floats(-8, 30)), draw(st.floats(-8, 30))
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    level = min(max(-math.log2(scale), 0.0), 2.0)
    return exact([[mirror * cos, -sin, x], [mirror * sin, cos, y]]), level
