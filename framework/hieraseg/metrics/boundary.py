"""Boundary IoU (Cheng et al. 2021, arXiv:2103.16562): IoU of the pixels near a class's boundary."""

from math import hypot

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_per_image

_SHIFT = 32  # an image has fewer than 2**31 pixels


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
        valid = targets != IGNORE_INDEX
        predicted = torch.where(valid, predicted, IGNORE_INDEX)
        # Of both in one tensor, since near_boundary is many small operations.
        near = near_boundary(torch.stack([predicted, targets]), distance) & valid
        predicted, targets, near = (one[..., counted, :] for one in (predicted, targets, near))
        both = near[0] & near[1] & (predicted == targets)
        # In the upper bits, so that both are counted at once.
        weights = near[1].long().add_(both.long() << _SHIFT)
        for level, classes in enumerate(self.num_classes):
            found = count_per_image(targets[:, level], weights[:, level], classes)
            self._add("intersection", level, rows, found >> _SHIFT)
            self._add("truth", level, rows, found & (2**_SHIFT - 1))
            found = count_per_image(predicted[:, level], near[0, :, level].long(), classes)
            self._add("predicted", level, rows, found)

    def _add(
        self, count: str, level: int, rows: Int[Tensor, " B"], found: Int[Tensor, "B C"]
    ) -> None:
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


def near_boundary(labels: Int[Tensor, "*B H W"], distance: int) -> Bool[Tensor, "*B H W"]:
    """Pixels with another label, or the image border, at most `distance` rows and columns away.

    These are the pixels that `distance` erosions with a 3 x 3 square remove from a class. They are
    found for all classes at once: a window contains several labels if one of its 2 x 2 squares
    does.
    """
    padded = F.pad(labels, [distance] * 4, value=IGNORE_INDEX)
    across = padded[..., 1:] != padded[..., :-1]
    down = padded[..., 1:, :] != padded[..., :-1, :]
    mixed = across[..., 1:, :] | across[..., :-1, :] | down[..., 1:]
    for dim in (-1, -2):
        mixed = _window_any(mixed, 2 * distance, dim)
    return mixed


def _window_any(values: Bool[Tensor, "..."], width: int, dim: int) -> Bool[Tensor, "..."]:
    """Whether any of `width` values along a dimension is True, in a logarithmic number of steps."""
    covered = 1
    while covered < width:
        step = min(covered, width - covered)
        length = values.shape[dim] - step
        values = values.narrow(dim, 0, length) | values.narrow(dim, step, length)
        covered += step
    return values
