"""Boundary IoU (Cheng et al. 2021, arXiv:2103.16562): IoU of the pixels near a class's boundary."""

from math import hypot

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_per_image


class BoundaryCounts:
    """Pixels near the boundary of their class, per image.

    The border of the image is a boundary too, as in the published code. Void belongs to no class,
    neither in the target nor in the prediction: predictions on void are ignored, and a correct
    prediction next to void counts as correct.

    Attributes:
        counts: int64, on the device. Per level l `boundary_intersection_l`,
            `boundary_predicted_l` and `boundary_truth_l` `[N, C_l]`: pixels within
            `boundary_distance` of the boundary of their class, in both, in the prediction and
            in the target.

    Args:
        hierarchy: the class tree.
        images: N, the number of images.
        device: device of the counts.
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
        distance: int,
        counted: slice,
    ) -> None:
        """Count some rows of a batch.

        Args:
            rows: row of each image in the counts.
            predicted: predicted class per level.
            targets: target class per level.
            distance: width of the boundary region in pixels.
            counted: rows to count; the others are those near them.
        """
        for level, classes in enumerate(self.num_classes):
            target = targets[:, level].long()
            valid = target != IGNORE_INDEX
            prediction = torch.where(valid, predicted[:, level].long(), IGNORE_INDEX)
            near_predicted = valid & near_boundary(prediction, distance)
            near_target = valid & near_boundary(target, distance)
            both = near_predicted & near_target & (prediction == target)
            for count, labels, where in (
                ("intersection", target, both),
                ("predicted", prediction, near_predicted),
                ("truth", target, near_target),
            ):
                found = count_per_image(labels[:, counted], where[:, counted], classes)
                self.counts[f"boundary_{count}_{level + 1}"].index_add_(0, rows, found)


class BoundariesOfRows:
    """Counts the pixels near boundaries in images whose rows come from top to bottom.

    Rows are counted when those near them are there, and kept until those near them are counted.

    Args:
        counts: the counts.
        rows: row of each image in the counts.
        size: height and width of the images.
    """

    def __init__(
        self, counts: BoundaryCounts, rows: Int[Tensor, " B"], size: tuple[int, int]
    ) -> None:
        self.counts, self.rows, self.height = counts, rows, size[0]
        self.distance = boundary_distance(*size)
        # Small integers, since classes of several levels are kept for all rows near others.
        self.dtype = torch.int16 if max(counts.num_classes) < 2**15 else torch.int32
        self.kept: list[Int[Tensor, "B levels _ W"]] = []
        self.first = 0  # row of the images that is the first one of `kept`
        self.counted = 0

    def add(
        self,
        predicted: Int[Tensor, "B levels rows W"],
        targets: Int[Tensor, "B levels rows W"],
    ) -> None:
        """Add the rows that follow those before, or all rows at once."""
        added = [predicted.to(self.dtype), targets.to(self.dtype)]
        kept = self.kept or [one[:, :, :0] for one in added]
        self.kept = [torch.cat(both, 2) for both in zip(kept, added, strict=True)]
        stop = self.first + self.kept[0].shape[2]
        ready = stop if stop == self.height else stop - self.distance
        if ready <= self.counted:
            return
        counted = slice(self.counted - self.first, ready - self.first)
        kept_predicted, kept_targets = self.kept
        self.counts.add(self.rows, kept_predicted, kept_targets, self.distance, counted)
        self.counted = ready
        done = max(ready - self.distance - self.first, 0)
        self.kept = [one[:, :, done:].clone() for one in self.kept]
        self.first += done


def boundary_distance(height: int, width: int) -> int:
    """Width of the boundary region in pixels: 2 % of the image diagonal, at least 1."""
    return max(1, round(0.02 * hypot(height, width)))


def near_boundary(labels: Int[Tensor, "B H W"], distance: int) -> Bool[Tensor, "B H W"]:
    """Pixels with another label, or the image border, at most `distance` rows and columns away.

    These are the pixels that `distance` erosions with a 3 x 3 square remove from a class. They are
    found for all classes at once: a window contains several labels if its maximum and minimum
    differ.
    """
    padded = F.pad(labels.int(), [distance] * 4, value=IGNORE_INDEX)
    extremes = torch.stack([padded, -padded])
    for dim in (-1, -2):
        extremes = _window_max(extremes, 2 * distance + 1, dim)
    highest, lowest = extremes[0], -extremes[1]
    return highest != lowest


def _window_max(values: Int[Tensor, "..."], width: int, dim: int) -> Int[Tensor, "..."]:
    """Sliding maximum of `width` values along a dimension, in a logarithmic number of steps."""
    covered = 1
    while covered < width:
        step = min(covered, width - covered)
        length = values.shape[dim] - step
        values = torch.maximum(values.narrow(dim, 0, length), values.narrow(dim, step, length))
        covered += step
    return values
