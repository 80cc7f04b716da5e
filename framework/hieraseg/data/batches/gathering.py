"""Crops of a whole batch, gathered from one flat buffer of stored pixels on the training device.

The definition is that of `warping`. Nothing here reads from the device or has a shape that depends
on the data, so a step can be compiled and captured in a CUDA graph.
"""

import torch
from jaxtyping import Bool, Float, Float64, Int, Integer, Shaped, UInt8
from torch import Tensor

from hieraseg.data.batches.warping import Frame


def gather_images(
    pixels: UInt8[Tensor, " P"],
    starts: Int[Tensor, "B levels"],
    shapes: Int[Tensor, "B 2"],
    matrices: Float64[Tensor, "B 2 3"],
    levels: Float[Tensor, " B"],
    frame: Frame,
) -> Float[Tensor, "B 3 H W"]:
    """Crops of images, in 0..1.

    Args:
        pixels: RGB of all stored images, row by row, at each level of the store.
        starts: where each image of the batch starts in `pixels`, at each level that is stored.
        shapes: height and width of the images at level 0.
        matrices: from (x, y, 1) of the crop to (x, y) of the image.
        levels: logarithm to base 2 of the factor by which each image becomes smaller.
        frame: size of the crops, and what is outside.
    """
    x, y = _points(matrices, frame.size)
    lower = levels.floor()
    crop = _gather_level(pixels, starts, shapes, lower.long(), x, y)
    if starts.shape[1] > 1:
        above = _gather_level(pixels, starts, shapes, levels.ceil().long(), x, y)
        crop = torch.lerp(crop, above, _per_pixel(levels - lower)[:, None])
    inside = _is_inside(x, y, *map(_per_pixel, shapes.unbind(1)))
    channels = [
        torch.where(inside, channel, value)
        for channel, value in zip((crop / 255).unbind(1), frame.fill, strict=True)
    ]
    return torch.stack(channels, 1)


def gather_masks(
    labels: Integer[Tensor, " P"],
    starts: Int[Tensor, " B"],
    shapes: Int[Tensor, "B 2"],
    matrices: Float64[Tensor, "B 2 3"],
    frame: Frame,
) -> Integer[Tensor, "B H W"]:
    """Crops of masks.

    Args:
        labels: label values of all stored masks, row by row.
        starts: where each mask of the batch starts in `labels`.
        shapes: height and width of the masks.
        matrices: from (x, y, 1) of the crop to (x, y) of the mask.
        frame: size of the crops, and what is outside.
    """
    x, y = _points(matrices, frame.size)
    height, width = map(_per_pixel, shapes.unbind(1))
    row, column = _clamp(y.floor().long(), height), _clamp(x.floor().long(), width)
    crop = labels[_per_pixel(starts) + row * width + column]
    return torch.where(_is_inside(x, y, height, width), crop, frame.void)


def _points(
    matrices: Float64[Tensor, "B 2 3"], size: tuple[int, int]
) -> tuple[Float64[Tensor, "B H W"], Float64[Tensor, "B H W"]]:
    """x and y of the image's point that each pixel of a crop shows."""
    row, column = (
        torch.arange(side, dtype=torch.float64, device=matrices.device) + 0.5 for side in size
    )
    row = row[:, None]
    (a, b, c), (d, e, f) = (map(_per_pixel, one.unbind(1)) for one in matrices.unbind(1))
    return a * column + (b * row + c), d * column + (e * row + f)


def _gather_level(
    pixels: UInt8[Tensor, " P"],
    starts: Int[Tensor, "B levels"],
    shapes: Int[Tensor, "B 2"],
    level: Int[Tensor, " B"],
    x: Float64[Tensor, "B H W"],
    y: Float64[Tensor, "B H W"],
) -> Float[Tensor, "B 3 H W"]:
    """The points of each image at one level of it, in 0..255."""
    start = _per_pixel(starts.gather(1, level[:, None])[:, 0])
    # Sides are divided by 2**level and rounded up, as in a store.
    height, width = (_per_pixel(-(-side >> level)) for side in shapes.unbind(1))
    smaller = _per_pixel(torch.exp2(-level.double()))
    x, y = x * smaller - 0.5, y * smaller - 0.5
    column, row = x.floor(), y.floor()
    across, down = (x - column).float()[:, None], (y - row).float()[:, None]
    columns = [_clamp(column.long() + one, width) for one in (0, 1)]
    rows = [_clamp(row.long() + one, height) * width for one in (0, 1)]
    corners = [_colors(pixels, start + 3 * (above + left)) for above in rows for left in columns]
    first = torch.lerp(corners[0], corners[1], across)
    second = torch.lerp(corners[2], corners[3], across)
    return torch.lerp(first, second, down)


def _colors(pixels: UInt8[Tensor, " P"], places: Int[Tensor, "B H W"]) -> Float[Tensor, "B 3 H W"]:
    """Pixels by the places of their red values."""
    channels = torch.arange(3, device=pixels.device)[:, None, None]
    return pixels[places[:, None] + channels].float()


def _is_inside(
    x: Float64[Tensor, "B H W"],
    y: Float64[Tensor, "B H W"],
    height: Int[Tensor, "B 1 1"],
    width: Int[Tensor, "B 1 1"],
) -> Bool[Tensor, "B H W"]:
    """Whether points are inside images of these heights and widths."""
    return (x >= 0) & (x < width) & (y >= 0) & (y < height)


def _clamp(index: Int[Tensor, "B H W"], side: Int[Tensor, "B 1 1"]) -> Int[Tensor, "B H W"]:
    """The nearest of the pixels along a side, of which there are `side`."""
    return torch.minimum(index.clamp(min=0), side - 1)


def _per_pixel(values: Shaped[Tensor, " B"]) -> Shaped[Tensor, "B 1 1"]:
    return values[:, None, None]
