"""The transforms of a recipe, applied to whole batches on the training device."""

from collections.abc import Sequence
from functools import reduce

from jaxtyping import Float, Integer
from torch import Tensor

from hieraseg.contracts import Transform
from hieraseg.draws import Draws


def transform(
    transforms: Sequence[Transform],
    images: Float[Tensor, "B 3 H W"],
    masks: Integer[Tensor, "B H W"],
    draws: Draws,
) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
    """Apply transforms one after the other.

    Args:
        transforms: the transforms.
        images: RGB in 0..1.
        masks: their label values.
        draws: random numbers of the images.
    """
    return reduce(lambda pair, one: one(*pair, draws), transforms, (images, masks))
