"""Crops of images and masks, sampled from stored pixels one image at a time.

Threads do this while a step runs, so it is done in NumPy: PyTorch would share each operation among
as many threads again. (`grid_sample` of a single image uses one.)

The definition, which `gathering` shares:

* A pixel of a crop shows the point of the image to which the crop's matrix maps its center. Pixel
  (0, 0) of an image covers the points from (0, 0) up to, but without, (1, 1).
* A mask has the label of the pixel that covers the point; the border between two pixels belongs to
  the one on the right or below.
* An image is interpolated between the centers of the four nearest pixels. Within half a pixel of
  the image's border it keeps the color of the border's pixels.
* Outside the image, an image has the fill color and a mask has the void value.
* Where a crop makes the image smaller, it is sampled from the stored sizes 1, 1/2 and 1/4 as
  textures are: from the two next ones, blended by the logarithm of the scale.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64, Int, Integer, UInt, UInt8
from torch import Tensor

from hieraseg.data.batches.batch import label_tensor
from hieraseg.data.batches.cropping import Crops
from hieraseg.data.stores.store import Store


class Frame(NamedTuple):
    """A crop's size, and what it shows outside an image.

    Attributes:
        size: height and width.
        fill: color outside an image, RGB in 0..1.
        void: value outside a mask.
    """

    size: tuple[int, int]
    fill: tuple[float, float, float]
    void: int


class StoreSampler:
    """Samples crops from a store, one after the other.

    Args:
        store: the images and masks.
        frame: size of the crops, and what is outside.
    """

    def __init__(self, store: Store, frame: Frame) -> None:
        self.store, self.frame = store, frame

    def __call__(
        self, rows: Int[Tensor, " B"], crops: Crops
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Crops of images, in 0..1, and of their masks.

        Args:
            rows: rows of the images.
            crops: the part of each image.
        """
        # NumPy asks for large pages of memory: small ones would take longer than the sampling.
        images = np.empty((len(rows), 3, *self.frame.size), np.float32)
        masks = []
        for row, crop, matrix, level in zip(
            rows.tolist(), images, crops.matrices.numpy(), crops.levels.tolist(), strict=True
        ):
            mask = self.store.mask(row)
            levels = range(math.floor(level), math.ceil(level) + 1)
            stored = [self.store.image(row, one) for one in levels]
            visible = visible_part(matrix, self.frame.size, mask.shape)
            sample_image(stored, level, visible, self.frame.fill, crop)
            masks.append(sample_mask(mask, visible, self.frame))
        return torch.from_numpy(images), label_tensor(np.stack(masks))


class Visible(NamedTuple):
    """The pixels of a crop that show an image.

    Attributes:
        rows, columns: the smallest rectangle that has all of them.
        x, y: the point that each pixel of it shows. Of a crop that is not rotated, x has one row
            and y has one column.
        inside: which pixels of it show the image; None if all do.
    """

    rows: slice
    columns: slice
    x: Float64[np.ndarray, "_ w"]
    y: Float64[np.ndarray, "h _"]
    inside: Bool[np.ndarray, "h w"] | None


def visible_part(
    matrix: Float64[np.ndarray, "2 3"], size: tuple[int, int], shape: tuple[int, ...]
) -> Visible:
    """The pixels of a crop that show an image.

    Args:
        matrix: from (x, y, 1) of the crop to (x, y) of the image.
        size: height and width of the crop.
        shape: height and width of the image.
    """
    (a, b, c), (d, e, f) = matrix.tolist()
    j, i = np.arange(size[1])[None] + 0.5, np.arange(size[0])[:, None] + 0.5
    is_rotated = b != 0 or d != 0
    x, y = (a * j + (b * i + c), d * j + (e * i + f)) if is_rotated else (a * j + c, e * i + f)
    across, down = (x >= 0) & (x < shape[1]), (y >= 0) & (y < shape[0])
    rows, columns = _span(down.any(1)), _span(across.any(0))
    if not is_rotated:
        return Visible(rows, columns, x[:, columns], y[rows], None)
    part = rows, columns
    return Visible(rows, columns, x[part], y[part], (across & down)[part])


def sample_image(
    stored: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    level: float,
    visible: Visible,
    fill: tuple[float, float, float],
    crop: Float32[np.ndarray, "3 H W"],
) -> None:
    """Write a crop of an image, in 0..1.

    Args:
        stored: the image at the level below, and at the one above unless `level` is a whole number.
        level: logarithm to base 2 of the factor by which the image becomes smaller.
        visible: the pixels of the crop that show the image.
        fill: color of all others.
        crop: where it is written.
    """
    part = crop[:, visible.rows, visible.columns]
    background = np.array(fill, np.float32)[:, None, None]
    if part.shape != crop.shape:
        crop[:] = background
    if not part.size:
        return
    lower = math.floor(level)
    colors = _sample_level(stored[0], lower, visible.x, visible.y)
    if level > lower:
        above = _sample_level(stored[1], lower + 1, visible.x, visible.y)
        colors += (above - colors) * np.float32(level - lower)
    np.divide(colors, 255, out=part)
    if visible.inside is not None:
        np.copyto(part, background, where=~visible.inside)


def sample_mask(
    mask: UInt[np.ndarray, "h w"], visible: Visible, frame: Frame
) -> UInt[np.ndarray, "H W"]:
    """A crop of a mask.

    Args:
        mask: label values.
        visible: the pixels of the crop that show the mask.
        frame: size of the crop, and the value of all others.
    """
    rows, columns = (np.floor(one).astype(np.int64) for one in (visible.y, visible.x))
    crop = np.full(frame.size, frame.void, mask.dtype)
    part = crop[visible.rows, visible.columns]
    if visible.inside is None:
        part[:] = mask[rows[:, 0]][:, columns[0]]  # faster than both at once
    else:
        part[visible.inside] = mask[rows[visible.inside], columns[visible.inside]]
    return crop


def _span(chosen: Bool[np.ndarray, " side"]) -> slice:
    """From the first to the last one that is chosen."""
    (places,) = chosen.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def _sample_level(
    image: UInt8[np.ndarray, "_ _ 3"],
    level: int,
    x: Float64[np.ndarray, "_ w"],
    y: Float64[np.ndarray, "h _"],
) -> Float32[np.ndarray, "3 h w"]:
    """The points of an image at one level of it, in 0..255."""
    x, y = x / 2**level, y / 2**level
    rows, columns = _needed(y, image.shape[0]), _needed(x, image.shape[1])
    region = image[rows, columns].astype(np.float32)
    height, width = region.shape[:2]
    # In -1..1 of the region, because float32 is too coarse for a large image.
    grid = np.empty((y.shape[0], x.shape[1], 2), np.float32)
    grid[..., 0] = (x - columns.start) * (2 / width) - 1
    grid[..., 1] = (y - rows.start) * (2 / height) - 1
    colors = F.grid_sample(
        torch.from_numpy(region).permute(2, 0, 1)[None],
        torch.from_numpy(grid)[None],
        padding_mode="border",
        align_corners=False,
    )
    return colors[0].numpy()


def _needed(points: Float64[np.ndarray, "_ _"], side: int) -> slice:
    """The pixels between whose centers points along a side of an image lie, of those that exist."""
    first = min(max(math.floor(points.min() - 0.5), 0), side - 1)
    return slice(first, max(min(math.floor(points.max() - 0.5) + 1, side - 1), first) + 1)
