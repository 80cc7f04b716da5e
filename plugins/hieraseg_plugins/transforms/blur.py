"""Gaussian blur."""

import math
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from hieraseg import Draws
from hieraseg.functional import where_chosen
from hieraseg.types import Ascending, PositiveFloat, Probability, check_arguments


@check_arguments
class Blur:
    """Gaussian blur of some images.

    Args:
        probability: probability that an image is blurred.
        sigma: minimum and maximum standard deviation in pixels.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        probability: Probability = 0.5,
        sigma: Annotated[tuple[PositiveFloat, PositiveFloat], Ascending()] = (0.1, 1.5),
    ) -> None:
        self.probability, self.sigma = probability, sigma

    def __call__(
        self, images: Float[Tensor, "B 3 H W"], masks: Integer[Tensor, "B H W"], draws: Draws
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Blur some images (see `hieraseg.Transform`)."""
        chosen = draws.chosen(self.probability)
        sigma = draws.uniform(*self.sigma)
        radius = min(math.ceil(2 * self.sigma[1]), *(side - 1 for side in images.shape[-2:]))
        if radius == 0:
            return images, masks
        blurred = partial(_blurred, radius=radius)
        return where_chosen(chosen, blurred, images, sigma), masks


def _blurred(
    images: Float[Tensor, "B 3 H W"], sigma: Float[Tensor, " B"], radius: int
) -> Float[Tensor, "B 3 H W"]:
    """Blur each image by a kernel of its own."""
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None, None]
    planes = images.flatten(0, 1)[None]
    padded = F.pad(planes, [radius] * 4, mode="reflect")
    across = F.conv2d(padded, weights, groups=len(weights))
    down = F.conv2d(across, weights.transpose(2, 3), groups=len(weights))
    return down[0].unflatten(0, (len(images), 3))
