"""Resizing of images and of logits row by row, for images of which only a part fits into memory."""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from hieraseg.contracts import Prediction


def resized_image_rows(
    image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int], rows: slice
) -> UInt8[np.ndarray, "rows w 3"]:
    """Some rows of the image as it is when it is resized, as `data.images.resize` does.

    Args:
        image: the image.
        size: height and width of the resized image.
        rows: rows of the resized image.
    """
    height, width = image.shape[:2]
    if size == (height, width):
        return image[rows]
    factor = height / size[0]
    # Pillow reads beyond the edges of a box: as far as its filter reaches.
    margin = math.ceil(max(factor, 1)) + 1
    first = max(math.floor(rows.start * factor) - margin, 0)
    part = np.ascontiguousarray(image[first : math.ceil(rows.stop * factor) + margin])
    top, bottom = rows.start * factor - first, min(rows.stop * factor - first, len(part))
    resized = Image.fromarray(part).resize(
        (size[1], rows.stop - rows.start), Image.Resampling.BILINEAR, (0, top, width, bottom)
    )
    return np.asarray(resized)


class ResizedRows:
    """Logits of an image, which come in bands of rows, resized bilinearly.

    `take` gives the rows that `F.interpolate(align_corners=False)` would give of the whole image.

    Args:
        bands: logits `[1, C_l, rows, W]` of all rows of the image, from top to bottom.
        height: H, the height of the image.
        size: height and width that it is resized to.
    """

    def __init__(self, bands: Iterator[Prediction], height: int, size: tuple[int, int]) -> None:
        self.bands, self.height, self.size = bands, height, size
        self.first = 0  # row of the image that is the first one of `kept`
        self.kept: list[Float[Tensor, "1 C rows W"]] = []

    def take(self, rows: slice) -> Prediction:
        """Rows of the resized image, at or below those of the call before."""
        shape = (rows.stop - rows.start, self.size[1])
        levels = self._own(rows) if self.height == self.size[0] else self._between(rows)
        return Prediction(
            tuple(
                level
                if level.shape[3] == shape[1]
                else F.interpolate(level, shape, mode="bilinear", align_corners=False)
                for level in levels
            )
        )

    def _own(self, rows: slice) -> list[Float[Tensor, "1 C rows W"]]:
        """Rows of the image itself."""
        self._read(rows.start, rows.stop)
        return [
            level[:, :, rows.start - self.first : rows.stop - self.first] for level in self.kept
        ]

    def _between(self, rows: slice) -> list[Float[Tensor, "1 C rows W"]]:
        """Rows of the image resized to another height, each between two of its own."""
        position = torch.arange(rows.start, rows.stop, dtype=torch.float64) + 0.5
        position = (position * (self.height / self.size[0]) - 0.5).clamp(min=0)
        above = position.long()
        below = (above + 1).clamp(max=self.height - 1)
        self._read(int(above[0]), int(below[-1]) + 1)
        device, dtype = self.kept[0].device, self.kept[0].dtype
        upper, lower, weight = (
            one.to(device, non_blocking=True)
            for one in (above - self.first, below - self.first, (position - above).to(dtype))
        )
        weight = weight[:, None]
        return [torch.lerp(level[:, :, upper], level[:, :, lower], weight) for level in self.kept]

    def _read(self, start: int, stop: int) -> None:
        """Forget the rows above `start`, and read those that are missing above `stop`."""
        while not self.kept or self.first + self.kept[0].shape[2] < stop:
            if self.kept:
                done = min(start - self.first, self.kept[0].shape[2])
                # Copied, since a view would keep all rows in memory while windows are predicted.
                self.kept = [level[:, :, done:].clone() for level in self.kept]
                self.first += done
            band = list(next(self.bands).logits)
            if self.kept and self.kept[0].shape[2]:
                band = [torch.cat(both, 2) for both in zip(self.kept, band, strict=True)]
            self.kept = band
