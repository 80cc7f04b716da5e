"""The tree-min loss: a class scores at most as high as its lowest ancestor."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import focal_cost, known_path, level_terms, mean_over_valid
from hieraseg.types import NonNegativeFloat, check_arguments
from hieraseg_plugins.losses.channels import add_at, zero_at
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
    pixelwise = True

    def __init__(self, hierarchy: Hierarchy, gamma: NonNegativeFloat = 0.0) -> None:
        super().__init__()
        self.gamma = gamma
        self.hierarchy = hierarchy
        self.groups = SiblingGroups(hierarchy)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `tree_min_level1` and so on."""
        path = known_path(targets, self.hierarchy)
        own, others = _costs_of_nodes(
            self.groups, self.gamma, [level.float() for level in prediction.logits], path
        )
        # Sigmoid and log are monotonic, so minima and maxima are taken over logits:
        # -log(min p) = softplus(-min z), -log(1 - max p) = softplus(max z).
        lowest = accumulate(own, torch.minimum)
        costs = [
            mean_over_valid((focal_cost(-positive, self.gamma) + negative) / classes, target)
            for positive, negative, classes, target in zip(
                lowest, others, self.hierarchy.num_classes, targets.unbind(1), strict=True
            )
        ]
        return level_terms("tree_min", costs)


def _costs_of_nodes(
    groups: SiblingGroups,
    gamma: float,
    logits: list[Float[Tensor, "B _ H W"]],
    path: list[Int[Tensor, "B H W"]],
) -> tuple[list[Float[Tensor, "B H W"]], list[Float[Tensor, "B H W"]]]:
    """Logit of the true class, and summed cost of all other classes, per level."""
    known = torch.stack(path, 1).clamp(min=0)
    results = _CostsOfNodes.apply(groups, gamma, known, *logits)
    return list(results[: len(logits)]), list(results[len(logits) :])


class _CostsOfNodes(torch.autograd.Function):
    """See `_costs_of_nodes`. Besides logits and their gradients, it needs memory for parents only.

    Autograd would save and add up several tensors of the size of the logits. Of classes with
    exactly the same logit, one gets the gradient of their maximum.
    """

    @staticmethod
    def forward(
        ctx: Any, groups: SiblingGroups, gamma: float, known: Tensor, *logits: Tensor
    ) -> tuple[Tensor, ...]:
        highest: list[Tensor] = [logits[-1]]
        best: list[Tensor] = []
        for level in range(len(logits) - 1, 0, -1):
            children, child = groups.best_children(highest[0], level)
            best.insert(0, child)
            highest.insert(0, torch.maximum(logits[level - 1], children))
        ctx.groups, ctx.gamma = groups, gamma
        ctx.save_for_backward(known, *logits, *highest[:-1], *best)
        true = known[:, :, None].unbind(1)
        own = [z.gather(1, index)[:, 0] for z, index in zip(logits, true, strict=True)]
        others = [
            zero_at(_in_parts(focal_cost, z, gamma), index).sum(1)
            for z, index in zip(highest, true, strict=True)
        ]
        return (*own, *others)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        levels = len(gradients) // 2
        known, *saved = ctx.saved_tensors
        logits, highest, best = (
            saved[:levels],
            saved[levels : 2 * levels - 1],
            saved[2 * levels - 1 :],
        )
        results: list[Tensor] = []
        of_children: Tensor | None = None  # gradient of the highest scores, passed down
        for level, z in enumerate(logits):
            scores, true = [*highest, z][level], known[:, level, None]
            slopes = _in_parts(_slope, scores, ctx.gamma).mul_(gradients[levels + level][:, None])
            slopes = zero_at(slopes, true)
            if of_children is not None:
                parents = ctx.groups.parents(level)
                slopes = add_at(slopes, best[level - 1], of_children, parents)
            if level < levels - 1:
                of_children = torch.where(scores > z, slopes, 0)
                slopes.masked_fill_(scores > z, 0)
            results.append(add_at(slopes, true, gradients[level][:, None]))
        return None, None, None, *results


def _slope(scores: Float[Tensor, "..."], gamma: float) -> Float[Tensor, "..."]:
    """Derivative of `focal_cost`."""
    if gamma == 0:
        return scores.sigmoid()
    # q^gamma (q + gamma (1 - q) softplus), q the sigmoid; log q = z - softplus.
    softplus = F.softplus(scores)
    log_sigmoid = scores - softplus
    sigmoid = log_sigmoid.exp()
    slope = torch.addcmul(sigmoid, softplus, 1 - sigmoid, value=gamma)
    return slope.mul_(log_sigmoid.mul_(gamma).exp_())


def _in_parts(
    function: Callable[[Tensor, float], Tensor], scores: Float[Tensor, "B C H W"], gamma: float
) -> Float[Tensor, "B C H W"]:
    """A function of each element, whose temporary tensors are small if there are many classes."""
    if scores.shape[1] < 64 or torch.compiler.is_compiling():
        return function(scores, gamma)
    results = torch.empty_like(scores)
    for part, result in zip(scores.chunk(16, 1), results.chunk(16, 1), strict=True):
        result.copy_(function(part, gamma))
    return results
