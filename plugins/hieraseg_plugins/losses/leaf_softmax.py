"""Scores of all levels from a single softmax over the leaves."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg_plugins.losses.channels import add_at
from hieraseg_plugins.losses.siblings import SiblingGroups


def log_scores_on_path(
    leaf_logits: Float[Tensor, "B leaves H W"],
    path: list[Int[Tensor, "B H W"]],
    groups: SiblingGroups,
) -> list[Float[Tensor, "B H W"]]:
    """Log-score of each pixel's class per level: the log of the sum over the leaves below it.

    Args:
        leaf_logits: logits of the finest level, `[B, leaves, H, W]`.
        path: class of each pixel per level, `[B, H, W]`; ignored pixels get the value of class 0.
        groups: groups of siblings of the class tree.
    """
    known = torch.stack(path, 1).clamp(min=0)
    return list(_LogScoresOnPath.apply(groups, known, leaf_logits.float()))


def mean_log_scores(
    leaf_logits: Float[Tensor, "B leaves H W"], groups: SiblingGroups
) -> list[Float[Tensor, "B H W"]]:
    """Mean log-score of all classes of each level.

    Args:
        leaf_logits: logits of the finest level, `[B, leaves, H, W]`.
        groups: groups of siblings of the class tree.
    """
    sums = [leaf_logits.float()]
    for level in range(len(groups.shapes) - 1, 0, -1):
        sums.insert(0, groups.logsumexp_over_children(sums[0], level))
    total = sums[0].logsumexp(1)
    return [logs.mean(1) - total for logs in sums]


class _LogScoresOnPath(torch.autograd.Function):
    """See `log_scores_on_path`. Besides the logits and their gradient, it needs memory for parents
    only: autograd would save and add up several tensors of the size of the logits.

    Each class is summed over its own leaves, so that they do not underflow next to a leaf with a
    far higher score.
    """

    @staticmethod
    def forward(
        ctx: Any, groups: SiblingGroups, known: Tensor, leaves: Tensor
    ) -> tuple[Tensor, ...]:
        sums = [leaves]
        for level in range(known.shape[1] - 1, 0, -1):
            sums.insert(0, groups.logsumexp_over_children(sums[0], level))
        total = sums[0].logsumexp(1)
        ctx.groups = groups
        ctx.save_for_backward(known, total, *sums)
        true = known[:, :, None].unbind(1)
        return tuple(
            logs.gather(1, index)[:, 0] - total for logs, index in zip(sums, true, strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        known, above, *sums = ctx.saved_tensors
        above, slopes = above[:, None], -torch.stack(gradients, 1).sum(1, keepdim=True)
        for level, logs in enumerate(sums):
            slopes = _passed_down(logs, above, slopes, ctx.groups.parents(level))
            slopes = add_at(slopes, known[:, level, None], gradients[level][:, None])
            above = logs
        return None, None, slopes


def _passed_down(
    logs: Float[Tensor, "B C H W"],
    above: Float[Tensor, "B P H W"],
    slopes: Float[Tensor, "B P H W"],
    parents: Int[Tensor, " C"],
) -> Float[Tensor, "B C H W"]:
    """Gradients of logarithms of sums, distributed to the summands.

    Args:
        logs: logarithms of the summands.
        above: logarithm of the sum over the children of each parent.
        slopes: gradients of these sums.
        parents: which sum each summand is part of.
    """
    if len(parents) < 64 or torch.compiler.is_compiling():
        return _shares(logs, above, slopes, parents)
    # A part of the classes at a time, so that temporary tensors are small.
    results = torch.empty_like(logs)
    for own, of, result in zip(
        logs.chunk(8, 1), parents.chunk(8), results.chunk(8, 1), strict=True
    ):
        result.copy_(_shares(own, above, slopes, of))
    return results


def _shares(logs: Tensor, above: Tensor, slopes: Tensor, parents: Tensor) -> Tensor:
    shares = (logs - above.index_select(1, parents)).exp_()
    return shares.mul_(slopes.index_select(1, parents))
