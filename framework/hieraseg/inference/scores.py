"""From logits to scores of every level."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg.contracts import Activation
from hieraseg.hierarchy import Hierarchy

_OF_LEAVES_ALONE: dict[Activation, Activation] = {
    "softmax": "leaf_softmax",
    "sibling_softmax": "leaf_softmax",
    "sigmoid": "descendant_max",
}
"""How parents get scores where only the finest level has logits."""


def level_scores(
    logits: Sequence[Float[Tensor, "B _ H W"]], activation: Activation, hierarchy: Hierarchy
) -> list[Float[Tensor, "B _ H W"]]:
    """Scores in 0..1 of every level's classes, in float32.

    Args:
        logits: of each level, coarsest first; or of the finest level alone, where parents get
            the sum of their leaves' softmax, or the highest of their leaves' sigmoids.
        activation: what the loss trained them for (see `contracts.Activation`).
        hierarchy: the class tree.
    """
    if len(logits) < hierarchy.num_levels:
        activation = _OF_LEAVES_ALONE.get(activation, activation)
    levels = [level.float() for level in logits]
    if activation == "softmax":
        return [level.softmax(1) for level in levels]
    if activation == "sigmoid":
        return [level.sigmoid() for level in levels]
    if activation == "leaf_softmax":
        return _leaf_sums(levels[-1].softmax(1), hierarchy)
    if activation == "sibling_softmax":
        return _products_of_shares(levels, hierarchy)
    return [level.sigmoid() for level in _highest_below(levels, hierarchy)]


def _leaf_sums(
    leaves: Float[Tensor, "B leaves H W"], hierarchy: Hierarchy
) -> list[Float[Tensor, "B _ H W"]]:
    """Per level: the sum of each class's leaves."""
    scores = []
    for level, classes in enumerate(hierarchy.num_classes):
        ancestor = hierarchy.on(leaves.device).paths[:, level]
        shape = (leaves.shape[0], classes, *leaves.shape[2:])
        scores.append(torch.zeros(shape, device=leaves.device).index_add_(1, ancestor, leaves))
    return scores


def _products_of_shares(
    logits: list[Float[Tensor, "B _ H W"]], hierarchy: Hierarchy
) -> list[Float[Tensor, "B _ H W"]]:
    """Per level: softmax among siblings times the parent's score, computed as a sum of logs.

    The classes of level 1 are siblings; a class without any has a share of 1.
    """
    log_scores = [logits[0].log_softmax(1)]
    for level, parents in zip(logits[1:], hierarchy.on(logits[0].device).parents[1:], strict=True):
        above = log_scores[-1]
        highest = _highest_child(level, parents, above.shape[1])
        below_highest = level - highest[:, parents]
        total = torch.zeros_like(above).index_add_(1, parents, below_highest.exp())
        log_scores.append(below_highest + (above - total.log())[:, parents])
    return [level.exp() for level in log_scores]


def _highest_below(
    logits: list[Float[Tensor, "B _ H W"]], hierarchy: Hierarchy
) -> list[Float[Tensor, "B _ H W"]]:
    """Per level: the highest logit of each class and of those below it."""
    parents = hierarchy.on(logits[-1].device).parents
    levels = [logits[-1]]
    for level in range(hierarchy.num_levels - 2, -1, -1):
        highest = _highest_child(levels[0], parents[level + 1], hierarchy.num_classes[level])
        if len(logits) > 1:
            highest = highest.maximum(logits[level])
        levels.insert(0, highest)
    return levels


def _highest_child(
    children: Float[Tensor, "B C H W"], parents: Int[Tensor, " C"], classes: int
) -> Float[Tensor, "B _ H W"]:
    """The highest value of the children of each class of the level above."""
    batch, _, height, width = children.shape
    lowest = children.new_full((batch, classes, height, width), -torch.inf)
    return lowest.scatter_reduce(1, parents[:, None, None].expand_as(children), children, "amax")
