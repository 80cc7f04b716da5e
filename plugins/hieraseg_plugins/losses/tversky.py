"""The Tversky loss on each level."""

from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import level_terms, weights_per_level
from hieraseg.types import NonNegativeFloat, PositiveFloat, check_arguments
from hieraseg_plugins.losses.overlap import tversky_loss


@check_arguments
class Tversky(Loss):
    """Tversky loss on each level: Dice with separate weights for both kinds of errors.

    Per class, with softmax scores over all valid pixels of the batch: 1 minus
    `(TP + smooth) / (TP + alpha FP + beta FN + smooth)`; averaged over classes. A class that does
    not occur costs nothing, but is included in the mean. Several processes each take the scores
    of their own part of the batch.

    Source: Salehi et al. 2017, arXiv:1706.05721, who found 0.3 and 0.7 best for small lesions.
    With 0.5 and 0.5 it is the Dice loss.

    Args:
        hierarchy: the class tree.
        alpha: weight of false positives.
        beta: weight of false negatives, positive.
        smooth: number of pixels added to the true positives, which reduces the weight of small
            classes.
        level_weights: weight of each level, coarsest first; null for 1 each.

    Raises:
        ValueError: an argument is out of range, or there is not one weight per level.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        alpha: NonNegativeFloat = 0.5,
        beta: PositiveFloat = 0.5,
        smooth: NonNegativeFloat = 0.0,
        level_weights: list[NonNegativeFloat] | None = None,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.smooth = alpha, beta, smooth
        self.level_weights = weights_per_level(hierarchy, level_weights)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `tversky_level1` and so on."""
        costs = [
            tversky_loss(logits.float(), target, self.alpha, self.beta, self.smooth)
            for logits, target in zip(prediction.logits, targets.unbind(1), strict=True)
        ]
        return level_terms("tversky", costs, self.level_weights)
