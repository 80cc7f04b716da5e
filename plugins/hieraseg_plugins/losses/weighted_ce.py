"""Weighted cross-entropy on each level."""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.functional import denominator, level_terms, mean_over_valid, weights_per_level
from hieraseg.types import ArgumentError, NonNegativeFloat, Probability, check_arguments
from hieraseg_plugins.losses.channels import add_at


@check_arguments
class WeightedCrossEntropy(Loss):
    """Cross-entropy on each level, averaged over valid pixels and weighted by level.

    With class weights, the mean is weighted by the weight of each pixel's class (as in
    `torch.nn.CrossEntropyLoss`).

    Args:
        hierarchy: the class tree.
        class_pixels: number of training pixels of each class, `[C_l]` per level.
        level_weights: weight of each level, coarsest first; null for 1 each.
        class_weights: weight of each class, one list per level, coarsest first; or
            `median_frequency`, the median class frequency divided by the class's own, over all
            training pixels (after Eigen & Fergus 2015, arXiv:1411.4734, who count only images
            that contain the class); or null for none.
        label_smoothing: share of each label that is spread evenly over all classes of its level
            (Szegedy et al. 2015, arXiv:1512.00567).

    Raises:
        ValueError: an argument is out of range, or the number of weights does not match the
            hierarchy.
    """

    pixelwise = True

    def __init__(
        self,
        hierarchy: Hierarchy,
        class_pixels: list[Tensor] | None = None,
        level_weights: list[NonNegativeFloat] | None = None,
        class_weights: list[list[NonNegativeFloat]] | Literal["median_frequency"] | None = None,
        label_smoothing: Probability = 0.0,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.level_weights = weights_per_level(hierarchy, level_weights)
        tables: list[Tensor] | list[None]
        if class_weights is None:
            tables = [None] * hierarchy.num_levels
        elif isinstance(class_weights, str):
            tables = _median_frequencies(class_pixels)
        else:
            tables = _weight_tables(class_weights, hierarchy)
        for level, table in enumerate(tables, 1):
            self.register_buffer(f"class_weights_{level}", table, persistent=False)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `ce_level1` and so on."""
        costs = []
        for level, logits in enumerate(prediction.logits):
            target, table = targets[:, level], getattr(self, f"class_weights_{level + 1}")
            true_class = target.clamp(min=0)
            cost = -_TrueLogSoftmax.apply(logits.float(), true_class[:, None])
            weight = None if table is None else table[true_class]
            mean = mean_over_valid(cost, target, weight)
            if self.label_smoothing:
                spread = _mean_of_spread_labels(logits.float(), target, weight, table)
                mean = torch.lerp(mean, spread, self.label_smoothing)
            costs.append(mean)
        return level_terms("ce", costs, self.level_weights)


class _TrueLogSoftmax(torch.autograd.Function):
    """Log-softmax of the true class of each pixel, in a third of the memory of `F.cross_entropy`.

    It keeps nothing but the logits, whose softmax takes no longer than to read a kept one.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Float[Tensor, "B C H W"], true: Int[Tensor, "B 1 H W"]
    ) -> Float[Tensor, "B H W"]:
        ctx.save_for_backward(logits, true)
        return logits.log_softmax(1).gather(1, true)[:, 0]

    @staticmethod
    def backward(
        ctx: Any, gradient: Float[Tensor, "B H W"]
    ) -> tuple[Float[Tensor, "B C H W"], None]:
        logits, true = ctx.saved_tensors
        gradient = gradient[:, None]
        return add_at(logits.softmax(1).mul_(-gradient), true, gradient), None


def _mean_of_spread_labels(
    logits: Float[Tensor, "B C H W"],
    target: Int[Tensor, "B H W"],
    weight: Float[Tensor, "B H W"] | None,
    table: Float[Tensor, " C"] | None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy of valid pixels whose labels are spread evenly over all classes.

    Args:
        logits: logits of a level.
        target: class of each pixel.
        weight: weight of the class of each pixel; None for 1 each.
        table: weight of each class; None for 1 each.
    """
    total = logits.logsumexp(1)
    if weight is None or table is None:
        return mean_over_valid(total - logits.mean(1), target)
    cost = table.mean() * total - (logits * table.view(1, -1, 1, 1)).mean(1)
    valid = target != IGNORE_INDEX
    weights = torch.where(valid, weight, 0).sum()
    # Without any weight there is nothing to divide by.
    return torch.where(valid & (weights > 0), cost, 0).sum() / denominator(weights)


def median_frequency(pixels: Float[Tensor, " C"]) -> Float[Tensor, " C"]:
    """Median frequency of the classes that occur, divided by that of each class.

    Args:
        pixels: number of pixels of each class.

    Returns:
        Weight of each class; 0 for classes that do not occur.
    """
    present = pixels > 0
    median = pixels[present].quantile(0.5) if present.any() else pixels.new_zeros(())
    return torch.where(present, median / pixels.clamp(min=1), torch.zeros_like(pixels))


def _median_frequencies(class_pixels: list[Tensor] | None) -> list[Tensor]:
    if class_pixels is None:
        raise ArgumentError(
            "class_weights",
            "must not be 'median_frequency' without `class_pixels`, the pixel counts of the "
            "training data",
        )
    return [median_frequency(pixels).float() for pixels in class_pixels]


def _weight_tables(class_weights: list[list[float]], hierarchy: Hierarchy) -> list[Tensor]:
    lengths = [len(weights) for weights in class_weights]
    if lengths != hierarchy.num_classes:
        raise ArgumentError(
            "class_weights",
            f"must have {hierarchy.num_classes} values per level, one per class, got {lengths}",
        )
    if not any(map(any, class_weights)):
        raise ArgumentError("class_weights", "must not all be 0, with which nothing is trained")
    return [torch.tensor(weights, dtype=torch.float32) for weights in class_weights]
