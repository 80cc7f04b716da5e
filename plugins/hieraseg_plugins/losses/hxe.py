"""Hierarchical cross-entropy: conditional cross-entropy along the path from the root."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import known_path, level_terms, mean_over_valid
from hieraseg.types import NonNegativeFloat, check_arguments
from hieraseg_plugins.losses.leaf_softmax import log_scores_on_path
from hieraseg_plugins.losses.siblings import SiblingGroups


@check_arguments
class HierarchicalCrossEntropy(Loss):
    """Hierarchical cross-entropy, with edge weights that decay with depth.

    Scores are a single softmax over the leaves; the score p of an inner class is the sum over its
    leaves. The edge into the true class of level l costs `-exp(-alpha l) log(p(class) /
    p(parent))`; the parent of level 1 is a virtual root with score 1. Each level is averaged over
    the pixels whose class is known there, whether or not other levels are ignored. Below the
    first node of a chain, edges cost nothing, as both ends have the same score.

    With alpha 0, the edges of a path add up to the cross-entropy of its leaf. The larger alpha,
    the more the coarse levels dominate.

    Source: Bertinetto et al. 2020, "Making Better Mistakes", arXiv:1912.09393. The paper
    multiplies alpha by a node's height, the released code by its distance from the root. Ours
    follows the code, which agrees with the paper's statement that alpha discounts *down* the
    hierarchy. The code also divides the weights by their sum over all nodes, a constant factor
    that is left out here.

    Args:
        hierarchy: the class tree.
        alpha: decay rate of the weight with depth (published: 0.1 to 0.9); 0 for no decay.

    Raises:
        ValueError: alpha is negative.
    """

    levels = "leaves"
    activation = "leaf_softmax"
    pixelwise = True

    def __init__(self, hierarchy: Hierarchy, alpha: NonNegativeFloat = 0.1) -> None:
        super().__init__()
        self.hierarchy = hierarchy
        self.groups = SiblingGroups(hierarchy)
        self.weights = [math.exp(-alpha * (level + 1)) for level in range(hierarchy.num_levels)]

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `hxe_level1` and so on."""
        path = known_path(targets, self.hierarchy)
        own = log_scores_on_path(prediction.logits[-1], path, self.groups)
        parents = [torch.zeros_like(own[0]), *own[:-1]]
        edges = [
            mean_over_valid(parent - child, target)
            for parent, child, target in zip(parents, own, targets.unbind(1), strict=True)
        ]
        return level_terms("hxe", edges, self.weights)
