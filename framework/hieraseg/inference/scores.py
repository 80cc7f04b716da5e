"""From logits to scores per level."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hieraseg.contracts import Activation
from hieraseg.hierarchy import Hierarchy

_FROM_LEAVES: dict[Activation, Activation] = {
    "softmax": "leaf_softmax",
    "sibling_softmax": "leaf_softmax",
    "sigmoid": "descendant_max",
}
"""Activations that compute the scores of all levels from the logits of the leaves."""


def level_scores(
    logits: Sequence[Float[Tensor, "B _ H W"]], activation: Activation, hierarchy: Hierarchy
) -> list[Float[Tensor, "B _ H W"]]:
    """Scores in 0..1 of all classes, as one float32 tensor `[B, C_l, H, W]` per level.

    Args:
        logits: logits per level, coarsest first, or those of the finest level only. Then parents
            get the sum of the softmax of their leaves, or the maximum of the sigmoid.
        activation: the activation of the loss (see `contracts.Activation`).
        hierarchy: the class tree.
    """
    if len(logits) < hierarchy.num_levels:
        activation = _FROM_LEAVES.get(activation, activation)
    levels = [level.float() for level in logits]
    if activation == "softmax":
        return [level.softmax(1) for level in levels]
    if activation == "sigmoid":
        return [level.sigmoid() for level in levels]
    if activation == "leaf_softmax":
        return _leaf_sums(levels[-1].softmax(1), hierarchy)
    if activation == "sibling_softmax":
        return _conditional_products(levels, hierarchy)
    return [level.sigmoid() for level in _max_of_descendants(levels, hierarchy)]


def _leaf_sums(
    leaves: Float[Tensor, "B leaves H W"], hierarchy: Hierarchy
) -> list[Float[Tensor, "B _ H W"]]:
    """The score of each class as the sum of its leaves, per level."""
    scores = []
    for level, classes in enumerate(hierarchy.num_classes):
        ancestor = hierarchy.on(leaves.device).paths[:, level]
        shape = (leaves.shape[0], classes, *leaves.shape[2:])
        scores.append(torch.zeros(shape, device=leaves.device).index_add_(1, ancestor, leaves))
    return scores


def _conditional_products(
    logits: list[Float[Tensor, "B _ H W"]], hierarchy: Hierarchy
) -> list[Float[Tensor, "B _ H W"]]:
    """Softmax among siblings times the score of the parent, per level.

    Computed as a sum of logarithms. The classes of level 1 are siblings. A class without siblings
    gets the score of its parent.
    """
    log_scores = [logits[0].log_softmax(1)]
    for level, parents in zip(logits[1:], hierarchy.on(logits[0].device).parents[1:], strict=True):
        above = log_scores[-1]
        maximum = _max_of_children(level, parents, above.shape[1])
        shifted = level - maximum[:, parents]  # so that exp() does not overflow
        total = torch.zeros_like(above).index_add_(1, parents, shifted.exp())
        log_scores.append(shifted + (above - total.log())[:, parents])
    return [level.exp() for level in log_scores]


def _max_of_descendants(
    logits: list[Float[Tensor, "B _ H W"]], hierarchy: Hierarchy
) -> list[Float[Tensor, "B _ H W"]]:
    """The maximum logit over each class and its descendants, per level."""
    parents = hierarchy.on(logits[-1].device).parents
    levels = [logits[-1]]
    for level in range(hierarchy.num_levels - 2, -1, -1):
        maximum = _max_of_children(levels[0], parents[level + 1], hierarchy.num_classes[level])
        if len(logits) > 1:
            maximum = maximum.maximum(logits[level])
        levels.insert(0, maximum)
    return levels


def _max_of_children(
    children: Float[Tensor, "B C H W"], parents: Int[Tensor, " C"], classes: int
) -> Float[Tensor, "B _ H W"]:
    """The maximum over the children of each class of the level above."""
    batch, _, height, width = children.shape
    lowest = children.new_full((batch, classes, height, width), -torch.inf)
    return lowest.scatter_reduce(1, parents[:, None, None].expand_as(children), children, "amax")


def not_finite(scores: Sequence[Float[Tensor, "B _ H W"]]) -> Bool[Tensor, " B"]:
    """Which images have NaN or infinite scores on some level."""
    # Scores lie in 0..1, so their sum is finite if all of them are.
    sums = torch.stack([level.sum((1, 2, 3), dtype=torch.float32) for level in scores])
    return ~sums.isfinite().all(0)
