"""Boundary IoU (Cheng et al. 2021, arXiv:2103.16562): IoU of the pixels near a class's boundary."""

from math import hypot

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_per_image


class BoundaryCounts:
    """Pixels near the boundaries of each class, per image.

    Every connected area of a class has a boundary, also along the image's border, as in the
    published code. Void is outside of every class in the truth and in the prediction alike: what
    is answered there changes nothing, and a right answer beside it is right.

    Attributes:
        counts: int64, on the device. Per level l `boundary_intersection_l`,
            `boundary_predicted_l` and `boundary_truth_l` `[N, C_l]`: pixels within
            `boundary_distance` of their own class's boundary in both, in the prediction, in the
            truth.

    Args:
        hierarchy: the class tree.
        images: N, the number of images.
        device: where to count.
    """

    def __init__(self, hierarchy: Hierarchy, images: int, device: torch.device) -> None:
        self.num_classes = hierarchy.num_classes
        self.counts = {
            f"boundary_{count}_{level}": torch.zeros(
                (images, classes), dtype=torch.int64, device=device
            )
            for level, classes in enumerate(self.num_classes, 1)
            for count in ("intersection", "predicted", "truth")
        }

    def add(
        self,
        rows: Int[Tensor, " B"],
        predicted: Int[Tensor, "B levels H W"],
        targets: Int[Tensor, "B levels H W"],
    ) -> None:
        """Count a batch; `rows` says which row of the counts each image belongs to."""
        distance = boundary_distance(targets.shape[-2], targets.shape[-1])
        for level, classes in enumerate(self.num_classes):
            truth = targets[:, level]
            valid = truth != IGNORE_INDEX
            answer = torch.where(valid, predicted[:, level], IGNORE_INDEX)
            in_answer = valid & near_boundary(answer, distance)
            in_truth = valid & near_boundary(truth, distance)
            for count, of, where in (
                ("intersection", truth, in_answer & in_truth & (answer == truth)),
                ("predicted", answer, in_answer),
                ("truth", truth, in_truth),
            ):
                found = count_per_image(of, where, classes)
                self.counts[f"boundary_{count}_{level + 1}"].index_add_(0, rows, found)


def boundary_distance(height: int, width: int) -> int:
    """How near to a boundary counts as near: 2 % of the image's diagonal, at least 1 pixel."""
    return max(1, round(0.02 * hypot(height, width)))


def near_boundary(labels: Int[Tensor, "B H W"], distance: int) -> Bool[Tensor, "B H W"]:
    """Pixels with another label, or the image's border, at most `distance` rows and columns away.

    These are the pixels that a class loses when it is eroded by a 3 x 3 square `distance` times.
    They are found for all classes at once: a window holds several labels if its highest and its
    lowest differ.
    """
    padded = F.pad(labels.int(), [distance] * 4, value=IGNORE_INDEX)
    extremes = torch.stack([padded, -padded])
    for dim in (-1, -2):
        extremes = _window_max(extremes, 2 * distance + 1, dim)
    highest, lowest = extremes[0], -extremes[1]
    return highest != lowest


def _window_max(values: Int[Tensor, "..."], width: int, dim: int) -> Int[Tensor, "..."]:
    """Maximum of each `width` neighbours along a dimension, in a logarithmic number of steps."""
    covered = 1
    while covered < width:
        step = min(covered, width - covered)
        length = values.shape[dim] - step
        values = torch.maximum(values.narrow(dim, 0, length), values.narrow(dim, step, length))
        covered += step
    return values
