"""Focal loss on each level, with a penalty on inconsistent parents and children."""

from itertools import pairwise

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
from hieraseg_plugins.losses.siblings import SiblingGroups


@check_arguments
class LevelConsistency(Loss):
    """Focal binary cross-entropy on each level, plus the gap between parents and their children.

    Focal terms: `-(1 - p)^gamma log p` for the true class and `-p^gamma log(1 - p)` for all
    others, p the sigmoid; averaged over valid pixels and classes. Consistency terms: the squared
    difference between the sigmoid of a parent and the highest among its children, averaged over
    parents and over the pixels whose class is known on the children's level.

    This is not tree-min: scores are only encouraged to agree, even where both are wrong, and may
    still violate the hierarchy. It is included for comparison: the predecessor of this project
    used a loss with these two parts, whose exact form was not recorded.

    Args:
        hierarchy: the class tree.
        gamma: exponent of the focal factor; 0 for none.
        level_weights: weight of each level's focal term, coarsest first; null for 1 each.
        consistency_weight: weight of the consistency terms.

    Raises:
        ValueError: gamma or a weight is negative, or there is not one weight per level.
    """

    activation = "sigmoid"
    pixelwise = True

    def __init__(
        self,
        hierarchy: Hierarchy,
        gamma: NonNegativeFloat = 2.0,
        level_weights: list[NonNegativeFloat] | None = None,
        consistency_weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.groups = SiblingGroups(hierarchy)
        self.gamma = gamma
        self.level_weights = weights_per_level(hierarchy, level_weights)
        self.consistency_weight = consistency_weight

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """`focal_level1` and so on, and `consistency_level2` and so on for each pair of levels."""
        logits = [level.float() for level in prediction.logits]
        focal = [
            mean_over_valid(binary_cross_entropy(own, target, self.gamma), target)
            for own, target in zip(logits, targets.unbind(1), strict=True)
        ]
        terms = level_terms("focal", focal, self.level_weights)
        for level, (parents, children) in enumerate(pairwise(logits), 1):
            highest = self.groups.max_over_children(children, level)
            gap = (parents.sigmoid() - highest.sigmoid()).square().mean(1)
            terms[f"consistency_level{level + 1}"] = self.consistency_weight * mean_over_valid(
                gap, targets[:, level]
            )
        return terms
