"""The tree-min loss: a class scores at most as high as its lowest ancestor."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import (
    binary_cross_entropy,
    known_path,
    level_terms,
    mean_over_valid,
    true_logit,
)
from hieraseg.types import NonNegativeFloat, check_arguments
from hieraseg_plugins.losses.siblings import SiblingGroups


@check_arguments
class TreeMin(Loss):
    """Tree-min loss: binary cross-entropy of scores that respect the hierarchy.

    The score p of a class on the true path is the minimum of the sigmoids of the class and its
    ancestors, and costs `-(1 - p)^gamma log p`. The score of any other class is the maximum of
    the sigmoids of the class and its descendants, and costs `-p^gamma log(1 - p)`. Each level is
    averaged over valid pixels and classes.

    Source: Li et al. 2022, "Deep Hierarchical Semantic Segmentation", arXiv:2203.14335,
    the tree-min loss (`gamma` 0) and its focal form (`gamma` 2). The published code multiplies
    the plain form by 5.

    Args:
        hierarchy: the class tree.
        gamma: exponent of the focal factor; 0 for none.

    Raises:
        ValueError: gamma is negative.
    """

    activation = "sigmoid"

    def __init__(self, hierarchy: Hierarchy, gamma: NonNegativeFloat = 0.0) -> None:
        super().__init__()
        self.gamma = gamma
        self.hierarchy = hierarchy
        self.groups = SiblingGroups(hierarchy)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `tree_min_level1` and so on."""
        logits = [level.float() for level in prediction.logits]
        # log and sigmoid are monotonic, so minima and maxima are taken over logits:
        # -log(min p) = softplus(-min z), -log(1 - max p) = softplus(max z).
        lowest = _min_on_path(logits, known_path(targets, self.hierarchy))
        highest = self.groups.max_over_descendants(logits)
        costs = [
            mean_over_valid(binary_cross_entropy(negatives, target, self.gamma, positive), target)
            for negatives, target, positive in zip(highest, targets.unbind(1), lowest, strict=True)
        ]
        return level_terms("tree_min", costs)


def _min_on_path(
    logits: list[Float[Tensor, "B _ H W"]], path: list[Int[Tensor, "B H W"]]
) -> list[Float[Tensor, "B H W"]]:
    """Lowest logit among the true class and its ancestors, per level."""
    lowest: list[Tensor] = []
    for scores, classes in zip(logits, path, strict=True):
        own = true_logit(scores, classes)
        lowest.append(torch.minimum(own, lowest[-1]) if lowest else own)
    return lowest
