"""The max-constraint loss: a class scores as high as its highest descendant."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.functional import (
    binary_cross_entropy,
    known_path,
    level_terms,
    mean_over_valid,
    true_logit,
)
from hieraseg_plugins.losses.siblings import SiblingGroups


class MaxConstraint(Loss):
    """Max-constraint loss: binary cross-entropy of scores that are maxima over descendants.

    The score of a class is the maximum of the sigmoids of the class and its descendants, so it
    respects the hierarchy for any logits. For a class on the true path, only descendants on the
    path count: a wrong descendant must not be raised for the sake of its ancestor. Each level is
    averaged over valid pixels and classes.

    If the label of a pixel is an inner class, its true path ends there. A level that is ignored
    above a known one has no term, but the path still passes through it.

    Source: Giunchiglia & Lukasiewicz 2020, "Coherent Hierarchical Multi-Label Classification
    Networks", arXiv:2010.10151, the max constraint loss.

    Args:
        hierarchy: the class tree.
    """

    activation = "descendant_max"
    pixelwise = True

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__()
        self.hierarchy = hierarchy
        self.groups = SiblingGroups(hierarchy)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `max_constraint_level1` and so on."""
        logits = [level.float() for level in prediction.logits]
        # The sigmoid is monotonic, so maxima are taken over logits.
        scores = self.groups.max_over_descendants(logits)
        positives = _max_on_path(logits, known_path(targets, self.hierarchy))
        costs = [
            mean_over_valid(binary_cross_entropy(own, target, positive=positive), target)
            for own, target, positive in zip(scores, targets.unbind(1), positives, strict=True)
        ]
        return level_terms("max_constraint", costs)


def _max_on_path(
    logits: list[Float[Tensor, "B _ H W"]], path: list[Int[Tensor, "B H W"]]
) -> list[Float[Tensor, "B H W"]]:
    """Highest logit among the true class and its descendants on the true path, per level."""
    highest = [true_logit(logits[-1], path[-1])]
    for level in range(len(logits) - 1, 0, -1):
        below = torch.where(path[level] != IGNORE_INDEX, highest[0], -torch.inf)
        highest.insert(0, torch.maximum(true_logit(logits[level - 1], path[level - 1]), below))
    return highest
