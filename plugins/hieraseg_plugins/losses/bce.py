"""Binary cross-entropy on each level."""

from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import (
    binary_cross_entropy,
    level_terms,
    mean_over_valid,
    weights_per_level,
)
from hieraseg.types import NonNegativeFloat, check_arguments


@check_arguments
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy of each class against all others, on each level.

    Each level is averaged over its valid pixels and its classes. The hierarchy is not used
    otherwise: levels are trained independently.

    Args:
        hierarchy: the class tree.
        level_weights: weight of each level, coarsest first; null for 1 each.

    Raises:
        ValueError: a weight is negative, or there is not one weight per level.
    """

    activation = "sigmoid"
    pixelwise = True

    def __init__(
        self, hierarchy: Hierarchy, level_weights: list[NonNegativeFloat] | None = None
    ) -> None:
        super().__init__()
        self.level_weights = weights_per_level(hierarchy, level_weights)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `bce_level1` and so on."""
        costs = [
            mean_over_valid(binary_cross_entropy(logits.float(), target), target)
            for logits, target in zip(prediction.logits, targets.unbind(1), strict=True)
        ]
        return level_terms("bce", costs, self.level_weights)
