"""All counts of a split."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg.hierarchy import Hierarchy
from hieraseg.metrics.boundary import BoundariesOfRows, BoundaryCounts
from hieraseg.metrics.calibration import CalibrationCounts
from hieraseg.metrics.confusion import ConfusionCounts
from hieraseg.metrics.joint import JointCounts
from hieraseg.metrics.pixels import count_pixels, zeros
from hieraseg.metrics.tree import TreeCounter

TOTALS = ("confusion", "calibration", "classwise_calibration")
"""How the names of counts over all images begin; all others are per image."""


class SplitCounts:
    """Counts of a split, some per image and some over all images.

    The counts of several processes, each with its share of the images, can be summed: rows of
    images that a process did not add are zero.

    Attributes:
        counts: int64, on the device. Those of `PixelCounts`, `TreeCounter` and `BoundaryCounts` per
            image, `ConfusionCounts` and `CalibrationCounts` over all images.

    Args:
        hierarchy: the class tree.
        images: N, the number of images in the split.
        device: device of the counts.
    """

    def __init__(self, hierarchy: Hierarchy, images: int, device: torch.device) -> None:
        pixels, tree = partial(count_pixels, hierarchy), TreeCounter(hierarchy, device)
        self.of_images = JointCounts(hierarchy, lambda *both: pixels(*both) | tree(*both), device)
        self.boundary = BoundaryCounts(hierarchy, images, device)
        self.confusion = ConfusionCounts(hierarchy, device)
        self.calibration = CalibrationCounts(hierarchy, device)
        self.counts = zeros(self.of_images, images, device)
        for part in (self.boundary, self.confusion, self.calibration):
            self.counts |= part.counts

    def add(
        self,
        rows: Int[Tensor, " B"],
        predicted: Int[Tensor, "B levels H W"],
        targets: Int[Tensor, "B levels H W"],
        scores: list[Float[Tensor, "B _ H W"]],
    ) -> None:
        """Count a batch of images or parts of images, except for boundaries (see `boundaries`).

        Args:
            rows: row of each image in the counts.
            predicted: predicted class per level.
            targets: target class per level. Pixels with -100 are ignored on that level.
            scores: scores in 0..1 of all classes, per level (see `inference.scores`).
        """
        # Levels are read one by one, but tables of paths give the levels of a pixel side by side.
        predicted = predicted.contiguous()
        for key, found in self.of_images(predicted, targets).items():
            self.counts[key].index_add_(0, rows, found)
        self.confusion.add(predicted, targets)
        self.calibration.add(predicted, targets, scores)

    def boundaries(self, rows: Int[Tensor, " B"], size: tuple[int, int]) -> BoundariesOfRows:
        """What counts the pixels near boundaries, which depend on more rows than their own.

        Args:
            rows: row of each image in the counts.
            size: height and width of the images.
        """
        return BoundariesOfRows(self.boundary, rows, size)

    def arrays(self) -> dict[str, Int[np.ndarray, "..."]]:
        """The counts as NumPy arrays."""
        return {key: value.cpu().numpy() for key, value in self.counts.items()}
