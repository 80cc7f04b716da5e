"""The Dice loss on each level."""

from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import level_terms, weights_per_level
from hieraseg.types import NonNegativeFloat, check_arguments
from hieraseg_plugins.losses.overlap import tversky_loss


@check_arguments
class Dice(Loss):
    """Dice loss on each level: 1 minus the Dice score of the softmax, averaged over classes.

    With s twice `smooth`, the Dice score of a class is `(2 sum(p y) + s) / (sum(p + y) + s)` over
    all valid pixels of the batch. A class that does not occur costs nothing, but is included in
    the mean. Several processes each take the score of their own part of the batch.

    Source: Milletari et al. 2016, "V-Net", arXiv:1606.04797. Unlike in the paper, p and y are not
    squared in the denominator, as in segmentation-models-pytorch.

    Args:
        hierarchy: the class tree.
        smooth: number of pixels added to the intersection, which reduces the weight of small
            classes.
        level_weights: weight of each level, coarsest first; null for 1 each.

    Raises:
        ValueError: an argument is negative, or there is not one weight per level.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        smooth: NonNegativeFloat = 0.0,
        level_weights: list[NonNegativeFloat] | None = None,
    ) -> None:
        super().__init__()
        self.smooth = smooth
        self.level_weights = weights_per_level(hierarchy, level_weights)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `dice_level1` and so on."""
        costs = [
            tversky_loss(logits.float(), target, 0.5, 0.5, self.smooth)
            for logits, target in zip(prediction.logits, targets.unbind(1), strict=True)
        ]
        return level_terms("dice", costs, self.level_weights)
