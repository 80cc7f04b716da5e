"""Boundary IoU (Cheng et al. 2021, arXiv:2103.16562): IoU of the pixels near a class's boundary."""

from math import hypot

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_per_image

_BAND = 2**20  # pixels that are counted at once


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
    ) -> None:
        """Count whole images, which belong to the given rows of the counts."""
        images, _, height, width = targets.shape
        distance = boundary_distance(height, width)
        # Large images are counted in bands: temporary tensors take 30 bytes per pixel.
        step = max(_BAND // max(images * width, 1), 2 * distance)
        for start in range(0, height, step):
            stop = min(start + step, height)
            seen = slice(max(start - distance, 0), stop + distance)
            counted = slice(start - seen.start, stop - seen.start)
            for level in range(len(self.num_classes)):
                target = targets[:, level, seen].long()
                self._add(level, rows, predicted[:, level, seen].long(), target, distance, counted)

    def _add(
        self,
        level: int,
        rows: Int[Tensor, " B"],
        predicted: Int[Tensor, "B h W"],
        target: Int[Tensor, "B h W"],
        distance: int,
        counted: slice,
    ) -> None:
        """Count some of the rows of a level; the others are those that are near to them."""
        valid = target != IGNORE_INDEX
        prediction = torch.where(valid, predicted, IGNORE_INDEX)
        near_predicted = valid & near_boundary(prediction, distance)
        near_target = valid & near_boundary(target, distance)
        both = near_predicted & near_target & (prediction == target)
        for count, labels, where in (
            ("intersection", target, both),
            ("predicted", prediction, near_predicted),
            ("truth", target, near_target),
        ):
            classes = self.num_classes[level]
            found = count_per_image(labels[:, counted], where[:, counted], classes)
            self.counts[f"boundary_{count}_{level + 1}"].index_add_(0, rows, found)


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
