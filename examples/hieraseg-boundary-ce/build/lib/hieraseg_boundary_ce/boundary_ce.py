"""Cross-entropy that weighs pixels near class boundaries more."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction


class BoundaryCrossEntropy(Loss):
    """Cross-entropy of each level, where pixels near a boundary of that level weigh more.

    A pixel is near a boundary if the square of `2 radius + 1` pixels around it has two classes;
    void pixels are none. Per level, the mean over valid pixels, weighted by 1 or by 1 + `weight`.

    Args:
        hierarchy: the class tree, from the runner.
        weight: what a pixel near a boundary weighs more than others.
        radius: how near that is, in pixels.

    Raises:
        ValueError: a negative weight, or a radius below 1.
    """

    def __init__(self, hierarchy: Hierarchy, weight: float = 4.0, radius: int = 2) -> None:
        super().__init__()
        if weight < 0 or radius < 1:
            raise ValueError(
                f"weight is {weight} and radius is {radius}, but the weight must not be "
                "negative, and the radius at least 1"
            )
        self.hierarchy = hierarchy
        self.weight = weight
        self.radius = radius

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, from logits `[B, C_l, H, W]` and classes, -100 where ignored."""
        terms = {}
        for level, logits in enumerate(prediction.logits):
            target = targets[:, level]
            cost = F.cross_entropy(
                logits.float(), target, ignore_index=IGNORE_INDEX, reduction="none"
            )
            weights = 1 + self.weight * near_boundary(target, self.radius)
            weights = torch.where(target == IGNORE_INDEX, 0, weights)
            # Each weight is 0 or at least 1. No valid pixel: zero, with a graph.
            terms[f"boundary_ce_level{level + 1}"] = (weights * cost).sum() / weights.sum().clamp(
                min=1
            )
        return terms


def near_boundary(target: Int[Tensor, "B H W"], radius: int) -> Bool[Tensor, "B H W"]:
    """Where the valid pixels within a square have more than one class."""
    classes = target.float()
    void = target == IGNORE_INDEX
    window = 2 * radius + 1
    highest = F.max_pool2d(classes.masked_fill(void, -torch.inf), window, 1, radius)
    lowest = -F.max_pool2d(-classes.masked_fill(void, torch.inf), window, 1, radius)
    return highest > lowest
