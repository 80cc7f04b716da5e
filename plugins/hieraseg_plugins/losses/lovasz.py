"""The Lovasz-softmax loss: a convex surrogate of 1 - IoU."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.functional import level_terms, weights_per_level
from hieraseg.types import NonNegativeFloat, check_arguments


@check_arguments
class Lovasz(Loss):
    """Lovasz-softmax loss on each level: a convex surrogate of 1 - IoU.

    Per class, the Lovasz extension of the Jaccard loss of the errors `|y - p|`, with softmax
    scores over all valid pixels of the batch; averaged over the classes that occur. Several
    processes each sort the pixels of their own part of the batch.

    Source: Berman et al. 2018, arXiv:1705.08790.

    Args:
        hierarchy: the class tree.
        level_weights: weight of each level, coarsest first; null for 1 each.

    Raises:
        ValueError: a weight is negative, or there is not one weight per level.
    """

    def __init__(
        self, hierarchy: Hierarchy, level_weights: list[NonNegativeFloat] | None = None
    ) -> None:
        super().__init__()
        self.level_weights = weights_per_level(hierarchy, level_weights)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `lovasz_level1` and so on."""
        levels = zip(prediction.logits, targets.unbind(1), strict=True)
        costs = [_lovasz_softmax(logits.float(), target) for logits, target in levels]
        return level_terms("lovasz", costs, self.level_weights)


def _lovasz_softmax(
    logits: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """Mean over the classes that occur; 0 with a graph if there are none.

    Ignored pixels stay, so that shapes do not depend on the data: they sort behind all others,
    and change neither intersection nor union.
    """
    scores = logits.softmax(1).movedim(1, 0).flatten(1)
    labels = target.flatten()
    classes = torch.arange(len(scores), device=labels.device)[:, None]
    positive = labels == classes
    errors = torch.where(labels != IGNORE_INDEX, (positive.float() - scores).abs(), -1)
    errors, order = errors.sort(1, descending=True)
    positive, valid = positive.gather(1, order), (labels != IGNORE_INDEX)[order]
    costs = (errors * _jaccard_increments(positive, valid)).sum(1)
    occurs = positive.any(1)
    return torch.where(occurs, costs, 0).sum() / occurs.sum().clamp(min=1)


def _jaccard_increments(
    positive: Bool[Tensor, "C N"], valid: Bool[Tensor, "C N"]
) -> Float[Tensor, "C N"]:
    """By how much the Jaccard loss grows with each pixel that becomes wrong, in this order.

    The loss is 1 - I / U. A wrong pixel of the class reduces I by 1, any other adds 1 to U. Not a
    difference of two losses, which would be all rounding error for a million pixels.

    Args:
        positive: whether a pixel is of the class.
        valid: whether it is not ignored.
    """
    total = positive.sum(1, keepdim=True)
    intersection = total - positive.cumsum(1)
    union = (total + (valid & ~positive).cumsum(1)).clamp(min=1).float()
    by_union = intersection / (union * (union - 1).clamp(min=1))
    return torch.where(positive, 1 / union, torch.where(valid, by_union, 0))
