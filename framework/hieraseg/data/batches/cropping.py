"""Random scale, rotation, shift, flip and crop of images of any shape, as numbers alone."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, UInt
from torch import Tensor

from hieraseg.data.stores.store import Store
from hieraseg.draws import Draws
from hieraseg.hierarchy import VOID, Hierarchy
from hieraseg.settings import Augmentation, Input

# Coordinates computed from multiples of this are exact in float64, so that all devices and both
# ways of sampling (see `warping` and `gathering`) read the same pixels.
_STEP = 2.0**-22
_HIGHEST_LEVEL = 2  # a store has images at 1, 1/2 and 1/4 of their sides: levels 0, 1 and 2
_LARGEST_SHARE = 0.75  # of a class in a crop, as mmsegmentation's cat_max_ratio
_POINTS = 64  # along a side of a crop, about as many are counted for it


class Crops(NamedTuple):
    """Which part of an image each crop shows, and how.

    Pixel (0, 0) covers coordinates from 0 to 1, so its center is (0.5, 0.5).

    Attributes:
        matrices: float64 `[B, 2, 3]`, which map (x, y, 1) of a crop to (x, y) of its image.
        levels: log2 of the factor by which an image becomes smaller, from 0 to 2.
        flipped: whether a crop is a mirror image.
    """

    matrices: Float64[Tensor, "B 2 3"]
    levels: Float[Tensor, " B"]
    flipped: Bool[Tensor, " B"]


def num_levels(settings: Input, augmentation: Augmentation) -> int:
    """Number of sizes at which training needs each stored image: 1, 1/2 and 1/4 of its sides."""
    is_scaled = settings.resize != "stretch" and augmentation.affine > 0
    smallest = min(augmentation.scale[0], 1) if is_scaled else 1
    return 1 + min(math.ceil(-math.log2(smallest)), _HIGHEST_LEVEL)


class Cropping:
    """Draws a crop of each image of a step.

    In this order, an image is scaled, cropped, flipped, and rotated about the center of the crop
    and shifted. A crop lies anywhere inside the scaled image, at whole pixels of it; along a side
    where the crop is larger, the image lies anywhere inside the crop.

    Args:
        store: the images.
        settings: which random changes are made.
        size: height and width of a crop.
        hierarchy: the class tree; defines which labels are void, and which are of one class.
    """

    def __init__(
        self, store: Store, settings: Augmentation, size: tuple[int, int], hierarchy: Hierarchy
    ) -> None:
        self.store, self.settings, self.size = store, settings, size
        self.shapes = torch.from_numpy(store.shapes)
        self.void = np.array([*hierarchy.void, hierarchy.void_value])
        self.class_of = _first_labels(hierarchy)

    def __call__(self, rows: Int[Tensor, " B"], draws: Draws) -> Crops:
        """Draw the crops of the images in these rows of the store."""
        settings = self.settings
        flipped = draws.chosen(settings.flip)
        chosen = draws.chosen(settings.affine)
        scale = torch.where(chosen, draws.uniform(*settings.scale).double(), 1.0)
        angle = draws.uniform(-1, 1).double() * math.radians(settings.rotate) * chosen
        shift = torch.stack([draws.uniform(-1, 1), draws.uniform(-1, 1)], 1).double()
        shift = shift * settings.shift * chosen[:, None]
        turned = self._turned(flipped, angle, shift)
        places = [
            torch.stack([draws.uniform(0, 1), draws.uniform(0, 1)], 1)
            for _ in range(settings.crop_tries)
        ]
        sides = (self.shapes[rows].flip(1) * scale[:, None]).round().clamp(min=1)
        tries = [_placed(turned, scale, self._corners(sides, place)) for place in places]
        matrices = tries[0] if len(tries) == 1 else self._first_mixed(tries, rows)
        levels = (-scale.log2()).clamp(0, _HIGHEST_LEVEL).float()
        return Crops(matrices, levels, flipped)

    def _turned(
        self,
        flipped: Bool[Tensor, " B"],
        angle: Float64[Tensor, " B"],
        shift: Float64[Tensor, "B 2"],
    ) -> Float64[Tensor, "B 2 3"]:
        """From a crop to the crop before it was flipped, rotated and shifted."""
        sides = torch.tensor(self.size[::-1], dtype=torch.float64)
        cos, sin = angle.cos(), angle.sin()
        turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        offset = shift * sides + sides / 2 - turn @ (sides / 2)
        matrix = torch.cat([turn, offset[..., None]], 2)
        mirrored = matrix[:, 0] * -1
        mirrored[:, 2] += sides[0]
        matrix[:, 0] = torch.where(flipped[:, None], mirrored, matrix[:, 0])
        return matrix

    def _corners(
        self, sides: Float64[Tensor, "B 2"], place: Float[Tensor, "B 2"]
    ) -> Float64[Tensor, "B 2"]:
        """(x, y) of the crop's corner in the scaled image, from numbers in [0, 1)."""
        room = sides - torch.tensor(self.size[::-1])
        return room.sign() * (place.double() * (room.abs() + 1)).floor()

    def _first_mixed(
        self, tries: Sequence[Float64[Tensor, "B 2 3"]], rows: Int[Tensor, " B"]
    ) -> Float64[Tensor, "B 2 3"]:
        """Of each image, the first crop that is not almost one class alone, else the last one."""
        chosen = tries[-1].clone()
        for index, row in enumerate(rows.tolist()):
            labels = self.store.mask(row)
            for crops in tries[:-1]:
                if self._mixed(labels, crops[index].numpy()):
                    chosen[index] = crops[index]
                    break
        return chosen

    def _mixed(self, mask: UInt[np.ndarray, "h w"], matrix: Float64[np.ndarray, "2 3"]) -> bool:
        """Whether no class covers too much of a crop. Void does not count."""
        strides = (max(side // _POINTS, 1) for side in self.size)
        y, x = (
            np.arange(stride // 2, side, stride) + 0.5
            for side, stride in zip(self.size, strides, strict=True)
        )
        columns, rows = np.floor(
            matrix[:, :1, None] * x + matrix[:, 1:2, None] * y[:, None] + matrix[:, 2:, None]
        ).astype(np.int64)
        height, width = mask.shape
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        labels = self.class_of[mask[rows[inside], columns[inside]]]
        values, counts = np.unique(labels, return_counts=True)
        counts = counts[~np.isin(values, self.void)]
        return bool(counts.max(initial=0) < _LARGEST_SHARE * counts.sum())


def _first_labels(hierarchy: Hierarchy) -> Int[np.ndarray, " values"]:
    """For each possible value of a mask, the first label of its class; others are as they are."""
    first: dict[str, int] = {}
    values = np.arange(VOID + 1)
    for value, name in hierarchy.labels.items():
        values[value] = first.setdefault(name, value)
    return values


def _placed(
    turned: Float64[Tensor, "B 2 3"], scale: Float64[Tensor, " B"], corner: Float64[Tensor, "B 2"]
) -> Float64[Tensor, "B 2 3"]:
    """From a crop to the image."""
    matrix = turned.clone()
    matrix[..., 2] += corner
    return (matrix / scale[:, None, None] / _STEP).round() * _STEP
