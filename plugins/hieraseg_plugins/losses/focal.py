"""The focal loss on each level."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import (
    focal_cost,
    level_terms,
    mean_over_valid,
    true_logit,
    weights_per_level,
)
from hieraseg.types import NonNegativeFloat, Probability, check_arguments


@check_arguments
class Focal(Loss):
    """Focal loss on each level: binary cross-entropy that down-weights easy pixels.

    Per class, with p the sigmoid score of the right decision: `-(1 - p)^gamma log p`, averaged
    over valid pixels and classes.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002.

    Args:
        hierarchy: the class tree.
        alpha: weight, 0 to 1, of pixels of the class; all others have 1 - alpha. Null for 1 each.
        gamma: exponent of the focal factor; 0 for none.
        level_weights: weight of each level, coarsest first; null for 1 each.

    Raises:
        ValueError: an argument is out of range, or there is not one weight per level.
    """

    activation = "sigmoid"
    pixelwise = True

    def __init__(
        self,
        hierarchy: Hierarchy,
        alpha: Probability | None = None,
        gamma: NonNegativeFloat = 2.0,
        level_weights: list[NonNegativeFloat] | None = None,
    ) -> None:
        super().__init__()
        self.own, self.other = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
        self.gamma = gamma
        self.level_weights = weights_per_level(hierarchy, level_weights)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `focal_level1` and so on."""
        costs = [
            mean_over_valid(self._cost(logits.float(), target), target)
            for logits, target in zip(prediction.logits, targets.unbind(1), strict=True)
        ]
        return level_terms("focal", costs, self.level_weights)

    def _cost(
        self, logits: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"]
    ) -> Float[Tensor, "B H W"]:
        others = logits.scatter(1, target.clamp(min=0)[:, None], -torch.inf)
        own_cost = focal_cost(-true_logit(logits, target), self.gamma)
        costs = self.own * own_cost + self.other * focal_cost(others, self.gamma).sum(1)
        return costs / logits.shape[1]
