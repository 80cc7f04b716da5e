"""Crops of images and masks, sampled from stored pixels one image at a time.

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
from jaxtyping import Bool, Float, Float64, Int, Integer, Shaped, UInt, UInt8
from torch import Tensor

from hieraseg.data.batches import label_tensor
from hieraseg.data.cropping import Crops
from hieraseg.data.store import Store


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
        images, masks = [], []
        for row, matrix, level in zip(
            rows.tolist(), crops.matrices, crops.levels.tolist(), strict=True
        ):
            mask = self.store.mask(row)
            stored = [
                self.store.image(row, one) for one in range(math.floor(level), math.ceil(level) + 1)
            ]
            images.append(sample_image(stored, mask.shape, matrix, level, self.frame))
            masks.append(sample_mask(mask, matrix, self.frame))
        return torch.stack(images), torch.stack(masks)


def sample_image(
    stored: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    shape: tuple[int, ...],
    matrix: Float64[Tensor, "2 3"],
    level: float,
    frame: Frame,
) -> Float[Tensor, "3 H W"]:
    """A crop of an image, in 0..1.

    Args:
        stored: the image at the level below, and at the one above unless `level` is a whole number.
        shape: height and width of the image at level 0.
        matrix: from (x, y, 1) of the crop to (x, y) of the image.
        level: logarithm to base 2 of the factor by which the image becomes smaller.
        frame: size of the crop, and what is outside.
    """
    x, y = points(matrix, frame.size)
    lower = math.floor(level)
    crop = _sample_level(stored[0], lower, matrix, x, y)
    if level > lower:
        crop.lerp_(_sample_level(stored[1], lower + 1, matrix, x, y), level - lower)
    crop.div_(255)
    inside = is_inside(x, y, *shape)
    fill = torch.tensor(frame.fill)[:, None, None]
    return crop if inside.all() else torch.where(inside, crop, fill)


def sample_mask(
    mask: UInt[np.ndarray, "h w"], matrix: Float64[Tensor, "2 3"], frame: Frame
) -> Integer[Tensor, "H W"]:
    """A crop of a mask: uint8, or int32 for uint16.

    Args:
        mask: label values.
        matrix: from (x, y, 1) of the crop to (x, y) of the mask.
        frame: size of the crop, and what is outside.
    """
    x, y = points(matrix, frame.size)
    rows, columns = region(matrix, frame.size, mask.shape)
    labels = label_tensor(np.ascontiguousarray(mask[rows, columns]))
    height, width = labels.shape
    row = (y.floor().long() - rows.start).clamp(0, height - 1)
    column = (x.floor().long() - columns.start).clamp(0, width - 1)
    inside = is_inside(x, y, *mask.shape)
    crop = labels[row, column]
    return crop if inside.all() else crop.masked_fill_(~inside, frame.void)


def points(
    matrices: Float64[Tensor, "*B 2 3"], size: tuple[int, int]
) -> tuple[Float64[Tensor, "*B _ W"], Float64[Tensor, "*B H _"]]:
    """x and y of the image's point that each pixel of a crop shows.

    Of a single crop that is not rotated, x has one row and y one column.
    """
    y, x = (torch.arange(side, dtype=torch.float64, device=matrices.device) + 0.5 for side in size)
    y = y[:, None]
    if matrices.ndim == 2 and matrices[0, 1] == 0 == matrices[1, 0]:
        return matrices[0, 0] * x[None] + matrices[0, 2], matrices[1, 1] * y + matrices[1, 2]
    (a, b, c), (d, e, f) = (
        (one[..., None, None] for one in row.unbind(-1)) for row in matrices.unbind(-2)
    )
    return a * x + (b * y + c), d * x + (e * y + f)


def is_inside(
    x: Float64[Tensor, "*B _ W"],
    y: Float64[Tensor, "*B H _"],
    height: int | Shaped[Tensor, "*B 1 1"],
    width: int | Shaped[Tensor, "*B 1 1"],
) -> Bool[Tensor, "*B H W"]:
    """Whether points are inside an image of this height and width."""
    return (x >= 0) & (x < width) & ((y >= 0) & (y < height))


def region(
    matrix: Float64[Tensor, "2 3"], size: tuple[int, int], shape: tuple[int, ...], level: int = 0
) -> tuple[slice, slice]:
    """Rows and columns of a stored image that a crop needs, at least one pixel.

    Args:
        matrix: from (x, y, 1) of the crop to (x, y) of the image.
        size: height and width of the crop.
        shape: height and width of the stored image at this level.
        level: its level.
    """
    x, y = (np.array([0.5, side - 0.5]) for side in size[::-1])
    a = matrix.numpy()
    columns, rows = (
        np.add.outer(row[0] * x, row[1] * y).ravel() / 2**level + row[2] / 2**level for row in a
    )
    return _span(rows, shape[0]), _span(columns, shape[1])


def _span(points: Float64[np.ndarray, "4"], side: int) -> slice:
    """The pixels around all points between the first and the last one, of those that exist."""
    first = min(max(int(np.floor(points.min() - 0.5)), 0), side - 1)
    last = max(min(int(np.floor(points.max() - 0.5)) + 1, side - 1), first)
    return slice(first, last + 1)


def _sample_level(
    image: UInt8[np.ndarray, "h w 3"],
    level: int,
    matrix: Float64[Tensor, "2 3"],
    x: Float64[Tensor, "_ W"],
    y: Float64[Tensor, "H _"],
) -> Float[Tensor, "3 H W"]:
    """The points of an image, in 0..255."""
    size = (y.shape[0], x.shape[1])
    rows, columns = region(matrix, size, image.shape, level)
    pixels = torch.from_numpy(np.ascontiguousarray(image[rows, columns]))
    height, width = pixels.shape[:2]
    grid = torch.empty(1, *size, 2)
    # Relative to the region, because float32 is too coarse for a large image.
    grid[0, ..., 0] = (x / 2**level - columns.start) * (2 / width) - 1
    grid[0, ..., 1] = (y / 2**level - rows.start) * (2 / height) - 1
    pixels = pixels.float().permute(2, 0, 1)[None]
    crop = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return crop[0]
