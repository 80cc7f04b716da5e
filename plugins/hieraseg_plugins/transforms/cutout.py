"""Cutout of random rectangles."""

from typing import Annotated

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from hieraseg import Draws, Hierarchy
from hieraseg.types import Ascending, PositiveInt, Probability, Range, check_arguments

_Share = Annotated[float, Range(gt=0, le=1)]


@check_arguments
class Cutout:
    """Random rectangles of some images are filled with a color, and their labels with void.

    T. DeVries, G. W. Taylor: Improved Regularization of Convolutional Neural Networks with Cutout.
    2017, arXiv:1708.04552. There, labels are those of whole images, and stay.

    Args:
        hierarchy: supplied by the runner.
        probability: probability that an image gets rectangles.
        number: minimum and maximum number of rectangles, which may overlap.
        size: minimum and maximum height and width of a rectangle, relative to those of the image.
        fill: color in RGB, in 0..1; by default the mean color of ImageNet, a gray.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        probability: Probability = 0.5,
        number: Annotated[tuple[PositiveInt, PositiveInt], Ascending()] = (1, 3),
        size: Annotated[tuple[_Share, _Share], Ascending()] = (0.1, 0.4),
        fill: tuple[Probability, Probability, Probability] = (0.485, 0.456, 0.406),
    ) -> None:
        self.hierarchy = hierarchy
        self.probability, self.number, self.size, self.fill = probability, number, size, fill

    def __call__(
        self, images: Float[Tensor, "B 3 H W"], masks: Integer[Tensor, "B H W"], draws: Draws
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Fill rectangles of some images (see `hieraseg.Transform`)."""
        height, width = masks.shape[-2:]
        inside = self._inside(height, width, draws)
        fill = torch.stack([torch.full((1, 1), one, device=draws.device) for one in self.fill])
        images = torch.where(inside[:, None], fill, images)
        return images, masks.masked_fill(inside, self.hierarchy.void_value)

    def _inside(self, height: int, width: int, draws: Draws) -> Bool[Tensor, "B {height} {width}"]:
        """Whether each pixel's center is in a rectangle of its image."""
        least, most = self.number
        number = draws.chosen(self.probability) * draws.uniform(least, most + 1).floor()
        rectangles = []
        for index in range(most):
            down, across = draws.uniform(*self.size), draws.uniform(*self.size)
            top, left = draws.uniform(0, 1) * (1 - down), draws.uniform(0, 1) * (1 - across)
            # Those beyond the number have no height.
            bottom, right = top + down * (index < number), left + across
            rectangles.append(torch.stack([top, bottom, left, right])[..., None])
        top, bottom, left, right = torch.stack(rectangles, 1)
        y, x = ((torch.arange(side, device=draws.device) + 0.5) / side for side in (height, width))
        rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)
        return (rows[..., None] & columns[..., None, :]).any(0)
