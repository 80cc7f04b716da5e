"""Gaussian noise."""

from typing import Annotated

from jaxtyping import Float, Int, Integer
from torch import Tensor

from hieraseg import Draws
from hieraseg.functional import normal_noise, where_chosen
from hieraseg.types import Ascending, NonNegativeFloat, Probability, check_arguments


@check_arguments
class Noise:
    """Gaussian noise on some images.

    Args:
        probability: probability that an image gets noise.
        deviation: minimum and maximum standard deviation, for pixels in 0..1.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        probability: Probability = 0.5,
        deviation: Annotated[tuple[NonNegativeFloat, NonNegativeFloat], Ascending()] = (0.0, 0.05),
    ) -> None:
        self.probability, self.deviation = probability, deviation

    def __call__(
        self, images: Float[Tensor, "B 3 H W"], masks: Integer[Tensor, "B H W"], draws: Draws
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Add noise to some images (see `hieraseg.Transform`)."""
        chosen = draws.chosen(self.probability)
        deviation, seeds = draws.uniform(*self.deviation), draws.seeds()
        return where_chosen(chosen, add_noise, images, deviation, seeds), masks


def add_noise(
    images: Float[Tensor, "B 3 H W"], deviation: Float[Tensor, " B"], seeds: Int[Tensor, " B"]
) -> Float[Tensor, "B 3 H W"]:
    """Add Gaussian noise of a standard deviation per image."""
    noise = normal_noise(seeds, images.shape[1:])
    return noise.mul_(deviation[:, None, None, None]).add_(images).clamp_(0, 1)
