"""Cross-entropy with soft labels that favour nearby leaves."""

import math
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import mean_over_valid
from hieraseg.types import PositiveFloat, check_arguments
from hieraseg_plugins.losses.siblings import SiblingGroups


@check_arguments
class SoftLabels(Loss):
    """Cross-entropy of the leaves with soft labels that favour leaves near the true one.

    The label for the true leaf t is the softmax of `-beta d(t, c) / max d` over the leaves c,
    where d is the height, in levels, of their lowest common ancestor. Averaged over the pixels
    whose leaf is known; a pixel whose label is an inner class has no effect.

    Source: Bertinetto et al. 2020, "Making Better Mistakes", arXiv:1912.09393.

    Args:
        hierarchy: the class tree.
        beta: sharpness of the labels (published: 4 to 30); the larger, the closer to plain
            cross-entropy.

    Raises:
        ValueError: beta is not positive.
    """

    levels = "leaves"
    activation = "leaf_softmax"
    pixelwise = True
    normalizers: Tensor

    def __init__(self, hierarchy: Hierarchy, beta: PositiveFloat = 10.0) -> None:
        super().__init__()
        self.groups = SiblingGroups(hierarchy)
        # Paths that part never meet again: two leaves have the height of the levels they differ on.
        highest = sum(classes > 1 for classes in hierarchy.num_classes)
        similar = [math.exp(-beta * height / max(highest, 1)) for height in range(highest + 1)]
        # A sum over leaves, weighted by similarity, is a weighted sum over the ancestors of the
        # true leaf, of the plain sum over the leaves of each: linear in the number of classes.
        self.weights = [one - next_ for one, next_ in pairwise([*similar, 0.0])]
        normalizers = torch.full((hierarchy.num_classes[-1],), self.weights[-1])
        normalizers *= hierarchy.num_classes[-1]
        for weight, ancestor in zip(
            self.weights[:-1], reversed(hierarchy.paths.unbind(1)), strict=False
        ):
            normalizers += weight * ancestor.bincount()[ancestor]
        self.register_buffer("normalizers", normalizers, persistent=False)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `soft_labels`."""
        leaf = targets[:, -1].clamp(min=0)
        costs = -prediction.logits[-1].float().log_softmax(1)
        cost = self._sum_by_similarity(costs, leaf) / self.normalizers[leaf]
        return {"soft_labels": mean_over_valid(cost, targets[:, -1])}

    def _sum_by_similarity(
        self, costs: Float[Tensor, "B leaves H W"], leaf: Int[Tensor, "B H W"]
    ) -> Float[Tensor, "B H W"]:
        """Sum of the costs of all leaves, weighted by their similarity to a leaf."""
        total = self.weights[-1] * costs.sum(1)
        sums, node = costs, leaf
        for height, weight in enumerate(self.weights[:-1], 1):
            total = total + weight * sums.gather(1, node[:, None])[:, 0]
            level = len(self.groups.shapes) - height
            if level:
                sums = self.groups.sum_over_children(sums, level)
                node = self.groups.parents(level)[node]
        return total
