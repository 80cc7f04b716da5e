"""Cross-entropy with a higher weight on pixels near class boundaries."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.functional import level_terms, mean_over_valid
from hieraseg.types import NonNegativeFloat, PositiveInt, check_arguments


@check_arguments
class BoundaryCrossEntropy(Loss):
    """Cross-entropy on each level, with a higher weight on pixels near a boundary of that level.

    A pixel is near a boundary if the square of side `2 radius + 1` around it contains more than
    one class; void pixels do not count as a class. Each level is a weighted mean over valid
    pixels, with weight `1 + weight` near boundaries and 1 elsewhere.

    Args:
        hierarchy: the class tree, supplied by the runner.
        weight: additional weight of pixels near a boundary.
        radius: maximum distance from the boundary, in pixels.

    Raises:
        ValueError: weight is negative, or radius is not positive.
    """

    def __init__(
        self, hierarchy: Hierarchy, weight: NonNegativeFloat = 4.0, radius: PositiveInt = 2
    ) -> None:
        super().__init__()
        self.hierarchy = hierarchy
        self.weight = weight
        self.radius = radius

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, from logits `[B, C_l, H, W]` and targets; -100 is ignored."""
        costs = []
        for logits, target in zip(prediction.logits, targets.unbind(1), strict=True):
            cost = F.cross_entropy(
                logits.float(), target, ignore_index=IGNORE_INDEX, reduction="none"
            )
            weight = 1 + self.weight * near_boundary(target, self.radius)
            costs.append(mean_over_valid(cost, target, weight))
        return level_terms("boundary_ce", costs)


def near_boundary(target: Int[Tensor, "B H W"], radius: int) -> Bool[Tensor, "B H W"]:
    """Pixels whose surrounding square contains more than one class, void excluded.

    Args:
        target: class of each pixel on one level, -100 where it is ignored.
        radius: half the side length of the square, in pixels, without the pixel itself.
    """
    classes = target.float()
    void = target == IGNORE_INDEX
    window = 2 * radius + 1
    highest = F.max_pool2d(classes.masked_fill(void, -torch.inf), window, 1, radius)
    lowest = -F.max_pool2d(-classes.masked_fill(void, torch.inf), window, 1, radius)
    return highest > lowest
