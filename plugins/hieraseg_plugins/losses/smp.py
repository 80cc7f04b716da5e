"""Dice, Tversky and focal loss, applied to each level."""

import torch
from jaxtyping import Float, Int
from segmentation_models_pytorch import losses as smp
from torch import Tensor, nn

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.functional import denominator, level_terms, weights_per_level
from hieraseg.types import (
    ArgumentError,
    NonNegativeFloat,
    PositiveFloat,
    Probability,
    check_arguments,
)
from hieraseg_plugins.losses.overlap import SoftTversky


class PerLevel(Loss):
    """Base of losses that apply a criterion to each level independently.

    Args:
        hierarchy: the class tree.
        term: prefix of the names of the terms.
        criterion: maps logits `[B, C, H, W]` and a target `[B, H, W]` to a scalar, ignoring
            pixels of IGNORE_INDEX.
        level_weights: weight of each level, coarsest first; None for 1 each.

    Raises:
        ValueError: there is not one weight per level.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        term: str,
        criterion: nn.Module,
        level_weights: list[float] | None,
    ) -> None:
        super().__init__()
        self.term = term
        self.criterion = criterion
        self.level_weights = weights_per_level(hierarchy, level_weights)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, for example `dice_level1`."""
        levels = zip(prediction.logits, targets.unbind(1), strict=True)
        costs = [self.criterion(logits.float(), target) for logits, target in levels]
        return level_terms(self.term, costs, self.level_weights)


@check_arguments
class Dice(PerLevel):
    """Dice loss on each level: 1 minus the Dice score of the softmax, averaged over classes.

    With s twice `smooth`, the Dice score of a class is `(2 sum(p y) + s) / (sum(p + y) + s)` over
    all valid pixels of the batch. A class that does not occur costs nothing, but is included in
    the mean. Several processes each take the score of their own part of the batch.

    Source: Milletari et al. 2016, "V-Net", arXiv:1606.04797. Unlike in the paper, p and y are not
    squared in the denominator, as in segmentation-models-pytorch.

    Args:
        hierarchy: the class tree.
        smooth: number of pixels added to the intersection, which reduces the weight of small
            classes.
        level_weights: weight of each level, coarsest first; null for 1 each.

    Raises:
        ValueError: an argument is negative, or there is not one weight per level.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        smooth: NonNegativeFloat = 0.0,
        level_weights: list[NonNegativeFloat] | None = None,
    ) -> None:
        criterion = SoftTversky(alpha=0.5, beta=0.5, smooth=smooth)
        super().__init__(hierarchy, "dice", criterion, level_weights)


@check_arguments
class Tversky(PerLevel):
    """Tversky loss on each level: Dice with separate weights for both kinds of errors.

    Per class, with softmax scores over all valid pixels of the batch: 1 minus
    `(TP + smooth) / (TP + alpha FP + beta FN + smooth)`; averaged over classes. A class that does
    not occur costs nothing, but is included in the mean. Several processes each take the scores
    of their own part of the batch.

    Source: Salehi et al. 2017, arXiv:1706.05721, who found 0.3 and 0.7 best for small lesions.
    With 0.5 and 0.5 it is the Dice loss.

    Args:
        hierarchy: the class tree.
        alpha: weight of false positives.
        beta: weight of false negatives, positive.
        smooth: number of pixels added to the true positives, which reduces the weight of small
            classes.
        level_weights: weight of each level, coarsest first; null for 1 each.

    Raises:
        ValueError: an argument is out of range, or there is not one weight per level.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        alpha: NonNegativeFloat = 0.5,
        beta: PositiveFloat = 0.5,
        smooth: NonNegativeFloat = 0.0,
        level_weights: list[NonNegativeFloat] | None = None,
    ) -> None:
        criterion = SoftTversky(alpha, beta, smooth)
        super().__init__(hierarchy, "tversky", criterion, level_weights)


@check_arguments
class Focal(PerLevel):
    """Focal loss of smp on each level: binary cross-entropy that down-weights easy pixels.

    Per class, with p the sigmoid score of the right decision: `-(1 - p)^gamma log p`, averaged
    over valid pixels and classes.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002.

    Args:
        hierarchy: the class tree.
        alpha: weight, 0 to 1, of pixels of the class; all others have 1 - alpha. Null for 1 each.
        gamma: exponent of the focal factor, at least 1; 0 for none.
        level_weights: weight of each level, coarsest first; null for 1 each.

    Raises:
        ValueError: an argument is out of range, or there is not one weight per level.
    """

    activation = "sigmoid"

    def __init__(
        self,
        hierarchy: Hierarchy,
        alpha: Probability | None = None,
        gamma: NonNegativeFloat = 2.0,
        level_weights: list[NonNegativeFloat] | None = None,
    ) -> None:
        if 0 < gamma < 1:
            raise ArgumentError(
                "gamma",
                f"must be 0 or at least 1, got {gamma}: otherwise the gradient of smp's focal "
                "loss is not finite for confident, correct predictions",
            )
        super().__init__(hierarchy, "focal", _FocalPerClass(alpha, gamma), level_weights)


class _FocalPerClass(nn.Module):
    """smp's focal loss of each class against the rest.

    The multiclass mode of smp loops over classes, and returns NaN if there are no valid pixels.
    Its binary mode on one-hot targets gives the same result without either.
    """

    def __init__(self, alpha: float | None, gamma: float) -> None:
        super().__init__()
        self.criterion = smp.FocalLoss("binary", alpha=alpha, gamma=gamma, reduction=None)

    def forward(
        self, logits: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"]
    ) -> Float[Tensor, ""]:
        valid = (target != IGNORE_INDEX)[:, None]
        one_hot = torch.zeros_like(logits).scatter(1, target.clamp(min=0)[:, None], 1.0)
        cost = self.criterion(logits, one_hot).view_as(logits)
        total = torch.where(valid, cost, 0).sum()
        return total / (denominator(valid.sum()) * logits.shape[1])
