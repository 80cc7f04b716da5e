"""Building blocks for authors of losses: pure functions of logits and targets.

    from hieraseg.functional import level_terms, mean_over_valid

Targets are class indices, -100 where a pixel is ignored. No function changes its arguments.

For authors of transforms there are `where_chosen` and `normal_noise`.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, overload

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from hieraseg.accumulation import mean_over_batch
from hieraseg.draws import normal_noise as normal_noise
from hieraseg.draws import where_chosen as where_chosen
from hieraseg.hashing import hashed
from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.inference.scores import level_scores as level_scores
from hieraseg.processes import gather as gather
from hieraseg.types import ArgumentError, Ascending, Probability, Range

Ramp = Annotated[tuple[Annotated[float, Range(ge=0, lt=1)], Probability], Ascending()]
"""Start and end of a ramp, as fractions of training (see `ramp`). It starts before the end."""
RampShape = Literal["cosine", "linear"]


def mean_over_valid(
    cost: Float[Tensor, "B H W"],
    target: Int[Tensor, "B H W"],
    weight: Float[Tensor, "B H W"] | None = None,
) -> Float[Tensor, ""]:
    """Average a per-pixel cost over the pixels that are not ignored.

    Ignored pixels get a gradient of exactly zero. If no pixel is left, or all weights are zero,
    the result is a zero with a graph, not NaN. The mean is over the batch of all processes (see
    `denominator`).

    >>> cost = torch.tensor([[[1.0, 3.0, 8.0]]])
    >>> target = torch.tensor([[[0, 2, -100]]])
    >>> mean_over_valid(cost, target)
    tensor(2.)

    Args:
        cost: cost of each pixel, `[B, H, W]`. It must be finite at ignored pixels too: a gradient
            of zero times infinity is NaN.
        target: class of each pixel on one level, `[B, H, W]`.
        weight: non-negative weight of each pixel, `[B, H, W]`; None for 1 each.
    """
    valid = target != IGNORE_INDEX
    if weight is None:
        return torch.where(valid, cost, 0).sum() / denominator(valid.sum())
    weight = torch.where(valid, weight, 0)
    return (weight * cost).sum() / denominator(weight.sum())


def denominator(total: Shaped[Tensor, ""]) -> Shaped[Tensor, ""]:
    """What to divide the sum over the pixels of this process by, for a mean over all processes.

    Each process computes the loss of its own images, and the gradients are averaged. If each took
    the mean over its own pixels, those of nearly void images would weigh more than others. With
    this denominator, the average is the mean over the whole batch, as a single process has it. So
    it is for the parts of a batch with `training.accumulate`, if the total depends on the targets
    alone.

    >>> cost, valid = torch.tensor([1.0, 3.0, 8.0]), torch.tensor([True, True, False])
    >>> torch.where(valid, cost, 0).sum() / denominator(valid.sum())
    tensor(2.)

    All processes have to call it equally often. For a loss that is no quotient of sums, see
    `gather`.

    Args:
        total: number of pixels of this process, or the sum of their weights.

    Returns:
        The mean of the total over all processes and parts, a constant for the gradient; 1 if that
        is 0.
    """
    total = mean_over_batch(total)
    return torch.where(total > 0, total, 1)


def true_logit(
    logits: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"]
) -> Float[Tensor, "B H W"]:
    """Select the logit of each pixel's true class.

    >>> logits = torch.tensor([0.5, -2.0]).view(1, 2, 1, 1)
    >>> true_logit(logits, torch.tensor([[[1]]]))
    tensor([[[-2.]]])

    Args:
        logits: logits of one level, `[B, C, H, W]`.
        target: class of each pixel on that level, `[B, H, W]`.

    Returns:
        `[B, H, W]`. Ignored pixels get the logit of class 0, so leave them out of the mean.
    """
    return logits.gather(1, target.clamp(min=0)[:, None])[:, 0]


def binary_cross_entropy(
    logits: Float[Tensor, "B C H W"],
    target: Int[Tensor, "B H W"],
    gamma: float = 0.0,
    positive: Float[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B H W"]:
    """(Focal) binary cross-entropy of each class against the rest, averaged over classes.

    With p the sigmoid of a logit, the true class costs `-(1 - p)^gamma log p`, and every other
    class `-p^gamma log(1 - p)`.

    >>> logits = torch.zeros(1, 2, 1, 1)
    >>> binary_cross_entropy(logits, torch.tensor([[[0]]]))  # (-log 0.5 - log 0.5) / 2
    tensor([[[0.6931]]])

    Args:
        logits: logits of one level, `[B, C, H, W]`.
        target: class of each pixel on that level, `[B, H, W]`.
        gamma: exponent of the focal factor; 0 for plain binary cross-entropy.
        positive: logit to use in place of the true class's own, `[B, H, W]`, for example the
            minimum over its ancestors.

    Returns:
        `[B, H, W]`. The value at ignored pixels is finite, but has no meaning.
    """
    positive = true_logit(logits, target) if positive is None else positive
    negatives = logits.scatter(1, target.clamp(min=0)[:, None], -torch.inf)
    costs = focal_cost(-positive, gamma) + focal_cost(negatives, gamma).sum(1)
    return costs / logits.shape[1]


def focal_cost(wrong: Float[Tensor, "..."], gamma: float = 0.0) -> Float[Tensor, "..."]:
    """`-q^gamma log(1 - q)`, q the sigmoid of the logit for the wrong decision; 0 at -inf.

    >>> focal_cost(torch.tensor(0.0), gamma=2)  # -0.25 log 0.5
    tensor(0.1733)

    Args:
        wrong: logit of the class for pixels of another, its negative for pixels of the class.
        gamma: exponent of the focal factor; 0 for plain binary cross-entropy.
    """
    cost = F.softplus(wrong)
    if gamma == 0:
        return cost
    # Not a power of the sigmoid: where that underflows to 0, a root has no finite gradient.
    return cost * torch.exp(gamma * (wrong - cost))


def known_path(
    targets: Int[Tensor, "B levels H W"], hierarchy: Hierarchy
) -> list[Int[Tensor, "B H W"]]:
    """Complete targets upwards: a pixel whose class is known also has all its ancestors.

    >>> hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c"]})
    >>> targets = torch.tensor([-100, 2]).view(1, 2, 1, 1)  # level 1 is ignored, level 2 is c
    >>> known_path(targets, hierarchy)[0]
    tensor([[[1]]])

    Args:
        targets: class of each pixel per level, `[B, L, H, W]`; any level may be ignored.
        hierarchy: the class tree.

    Returns:
        One `[B, H, W]` per level, coarsest first; -100 only where neither the class on that level
        nor one on a finer level is known.
    """
    parents = hierarchy.on(targets.device).parents
    path = [targets[:, -1]]
    for level in range(targets.shape[1] - 1, 0, -1):
        implied = parents[level][path[0].clamp(min=0)]
        path.insert(0, torch.where(path[0] != IGNORE_INDEX, implied, targets[:, level - 1]))
    return path


def level_terms(
    name: str,
    values: Iterable[Float[Tensor, ""]],
    weights: Iterable[float] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Name the value of each level, the result of most losses.

    >>> level_terms("ce", [torch.tensor(2.0), torch.tensor(3.0)], weights=[0.5, 1.0])
    {'ce_level1': tensor(1.), 'ce_level2': tensor(3.)}

    Args:
        name: prefix of the names.
        values: one scalar per level, coarsest first.
        weights: factor of each level; None for 1 each.
    """
    if weights is not None:
        values = [weight * value for weight, value in zip(weights, values, strict=True)]
    return {f"{name}_level{level}": value for level, value in enumerate(values, 1)}


def weights_per_level(hierarchy: Hierarchy, level_weights: Sequence[float] | None) -> list[float]:
    """Complete the argument `level_weights` of a loss.

    >>> weights_per_level(Hierarchy.from_tree({"x": ["a", "b"]}), None)
    [1.0, 1.0]

    Args:
        hierarchy: the class tree.
        level_weights: weight of each level, coarsest first; None for 1 each.

    Raises:
        ArgumentError: there is not one weight per level, or all of them are 0.
    """
    levels = hierarchy.num_levels
    if level_weights is None:
        return [1.0] * levels
    if len(level_weights) != levels:
        raise ArgumentError(
            "level_weights",
            f"must have {levels} values, one per level of the hierarchy, got {len(level_weights)}",
        )
    if not any(level_weights):
        raise ArgumentError("level_weights", "must not all be 0, with which nothing is trained")
    return list(level_weights)


@overload
def ramp(
    progress: Float[Tensor, ""], start: float, end: float, shape: RampShape = "cosine"
) -> Float[Tensor, ""]: ...


@overload
def ramp(progress: float, start: float, end: float, shape: RampShape = "cosine") -> float: ...


def ramp(
    progress: Float[Tensor, ""] | float, start: float, end: float, shape: RampShape = "cosine"
) -> Float[Tensor, ""] | float:
    """Factor that grows from 0 to 1 during training, to phase in a term of a loss.

    >>> [ramp(progress, 0.25, 0.75, "linear") for progress in (0.0, 0.5, 1.0)]
    [0.0, 0.5, 1.0]

    Args:
        progress: fraction of training that is done, 0 to 1; in a training step a tensor.
        start: progress up to which the factor is 0.
        end: progress from which on it is 1. Equal to `start`, it makes a step.
        shape: growth in between: with t from 0 to 1, `(1 - cos(pi t)) / 2` or t.

    Returns:
        A tensor for a tensor, on its device; else a float.
    """
    if isinstance(progress, Tensor):
        grown = (progress - start) / (end - start) if end > start else (progress >= end).float()
        grown = grown.clamp(0, 1)
        return grown if shape == "linear" else (1 - torch.cos(math.pi * grown)) / 2
    share = (progress - start) / (end - start) if end > start else float(progress >= end)
    share = max(0.0, min(1.0, share))
    return share if shape == "linear" else (1 - math.cos(math.pi * share)) / 2


def random_order(
    count: int, seed: int, progress: Float[Tensor, ""] | float
) -> Int[Tensor, " count"]:
    """A random permutation, the same on all devices, which changes with the progress of training.

    It has no state, so that a resumed run goes on with the same permutations, and can be part of
    a compiled or captured training step, unlike `torch.randperm`.

    >>> random_order(5, seed=0, progress=0.5)
    tensor([3, 1, 0, 2, 4])

    Args:
        count: number of elements.
        seed: any integer.
        progress: fraction of training that is done, 0 to 1, rounded to float32.

    Returns:
        The numbers 0 to `count - 1` in random order, on the device of `progress`; on the CPU for a
        float.
    """
    moment = torch.as_tensor(progress, dtype=torch.float32).view(torch.int32).long()
    key = hashed(moment, torch.full_like(moment, seed % (2**61 - 1)))
    return hashed(torch.arange(count, device=moment.device), key).argsort()
