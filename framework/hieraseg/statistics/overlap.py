"""IoU and its mean over classes, of any number of splits at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Num, UInt8


def iou(
    intersection: Num[np.ndarray, "*splits C"], union: Num[np.ndarray, "*splits C"]
) -> Float[np.ndarray, "*splits C"]:
    """Intersection over union; NaN where the union is empty."""
    with np.errstate(invalid="ignore"):
        return np.true_divide(intersection, union)


def mean_iou(ious: Float[np.ndarray, "*splits C"]) -> Float[np.ndarray, "*splits"]:
    """Mean over the classes that have an IoU; NaN if none has one."""
    is_defined = ~np.isnan(ious)
    with np.errstate(invalid="ignore"):
        return np.where(is_defined, ious, 0).sum(-1) / is_defined.sum(-1)


@dataclass(frozen=True)
class Overlap:
    """Counts of some runs on the same N images, and which K scores of them are of interest.

    Integers up to 2^53 are exact in float64, so equal counts have equal sums and equal scores.

    Attributes:
        counts: intersection and union of each class.
        is_foreground: mask of the classes whose mean IoU is the first score.
        shown: classes whose IoUs are the other scores.
    """

    counts: Float64[np.ndarray, "2 runs N C"]
    is_foreground: Bool[np.ndarray, " C"]
    shown: Int[np.ndarray, " shown"]

    def total(self) -> Float64[np.ndarray, "2 runs C"]:
        """Counts of all images."""
        return self.counts.sum(2)

    def sums(self, weights: UInt8[np.ndarray, "R N"]) -> Float64[np.ndarray, "2 runs R C"]:
        """Counts summed over the images, each as often as its weight says."""
        return weights.astype(np.float64) @ self.counts

    def scores(self, sums: Float64[np.ndarray, "2 *splits C"]) -> Float[np.ndarray, "*splits K"]:
        """The K scores of sums: mIoU, and the IoU of each class that is shown."""
        ious = iou(*sums)
        means = mean_iou(ious[..., self.is_foreground])[..., None]
        return np.concatenate([means, ious[..., self.shown]], axis=-1)
