"""Expected calibration error: the gap between scores and the fraction of correct predictions."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_values

BINS = 20
"""Number of equal-width bins over 0..1. Each includes its lower edge, the last one both edges."""

UNIT = 2**24
"""Scores are summed as integers, in units of 1 / UNIT (the precision of float32 below 1), so that
the sum does not depend on the order."""

_PIXELS = 2**19 - 1
"""Pixels per chunk. In an int64, the lower bits hold the sum of as many scores, the upper ones
their number, so that both are counted at once."""

_SUM_BITS = 24 + 19

_CHUNK = {"cpu": 2**17, "cuda": 2**24}
"""Scores per chunk: few enough for the cache of a CPU, many enough for all cores of a GPU."""


class CalibrationCounts:
    """Counts per bin of scores, over all images.

    Scores are not normalized: those of a `sigmoid` do not sum to 1 over the classes of a level.

    Attributes:
        counts: int64, on the device. Per level l `calibration_l` `[3, BINS]` for the scores of
            the predicted class, and `classwise_calibration_l` `[3, C_l, BINS]` for those of
            every class. The three rows are the number of pixels whose score is in the bin, the
            number of these whose target is that class, and the sum of the scores in units of
            1 / UNIT.

    Args:
        hierarchy: the class tree.
        device: device of the counts.
    """

    def __init__(self, hierarchy: Hierarchy, device: torch.device) -> None:
        shapes: dict[str, tuple[int, ...]] = {}
        for level, classes in enumerate(hierarchy.num_classes, 1):
            shapes[f"calibration_{level}"] = (3, BINS)
            shapes[f"classwise_calibration_{level}"] = (3, classes, BINS)
        self.counts = {
            key: torch.zeros(shape, dtype=torch.int64, device=device)
            for key, shape in shapes.items()
        }

    def add(
        self,
        predicted: Int[Tensor, "B levels H W"],
        targets: Int[Tensor, "B levels H W"],
        scores: list[Float[Tensor, "B _ H W"]],
    ) -> None:
        """Count a batch."""
        for level, score in enumerate(scores):
            prediction, target = predicted[:, level], targets[:, level]
            valid = target != IGNORE_INDEX
            # An inference rule may predict another class than that of the highest score.
            confidence = score.gather(1, prediction[:, None])
            correct = torch.where(valid & (prediction == target), 0, -1)
            found = count_per_bin(confidence, correct, valid)
            self.counts[f"calibration_{level + 1}"] += found[:, 0]
            found = count_per_bin(score, target, valid)
            self.counts[f"classwise_calibration_{level + 1}"] += found


def count_per_bin(
    scores: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"], valid: Bool[Tensor, "B H W"]
) -> Int[Tensor, "3 C bins"]:
    """Number of pixels, number of positives and sum of scores per class and bin.

    Args:
        scores: scores in 0..1.
        target: index of the positive class among the C classes; negative if there is none.
        valid: pixels to count.
    """
    total = scores.new_zeros((3, scores.shape[1], BINS), dtype=torch.int64)
    largest = _CHUNK[scores.device.type]
    for some, own, known in _parts(scores, target, valid, min(_PIXELS, largest)):
        factor, ones = (known * float(UNIT))[:, None], (known.long() << _SUM_BITS)[:, None]
        classes = max(1, largest // max(1, own.numel()))
        for first in range(0, some.shape[1], classes):
            chosen = slice(first, first + classes)
            total[:, chosen] += _count(some[:, chosen], own - first, factor, ones)
    return total


def _parts(
    scores: Float[Tensor, "B C H W"],
    target: Int[Tensor, "B H W"],
    valid: Bool[Tensor, "B H W"],
    pixels: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The arguments in parts of several images, or of some pixels of one: `[B, C, P]`, `[B, P]`."""
    images = max(1, pixels // max(1, target.shape[1] * target.shape[2]))
    # Targets as int32, since they are compared with each class.
    flat = scores.flatten(2), target.int().flatten(1), valid.flatten(1)
    for parts in zip(*(tensor.split(images) for tensor in flat), strict=True):
        yield from zip(*(part.split(pixels, dim=-1) for part in parts), strict=True)


def _count(
    scores: Float[Tensor, "B C P"],
    target: Int[Tensor, "B P"],
    factor: Float[Tensor, "B 1 P"],
    ones: Int[Tensor, "B 1 P"],
) -> Int[Tensor, "3 C bins"]:
    """`count_per_bin` of at most `_PIXELS` pixels.

    Args:
        scores: scores in 0..1.
        target: index of the positive class.
        factor: `UNIT` for pixels to count, else 0.
        ones: what is counted of each pixel: 1 in the upper bits, or 0.
    """
    # Invalid pixels and NaN become 0. Conversion to int64 is slow on a CPU.
    units = (scores.float() * factor).round_().nan_to_num_(0).clamp_(0, UNIT)
    bins = (units * (BINS / UNIT)).int().clamp_(max=BINS - 1)
    classes = torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device)[:, None]
    first = 2 * BINS * classes
    index = torch.where(target[:, None] == classes, first + BINS, first).add_(bins).long()
    both = units.int().long().add_(ones)
    found = count_values(index, both, 2 * BINS * len(classes)).view(-1, 2, BINS)
    pixels, sums = found >> _SUM_BITS, found & (2**_SUM_BITS - 1)
    return torch.stack([pixels.sum(1), pixels[:, 1], sums.sum(1)])


def calibration_error(
    counts: Int[np.ndarray, "3 *classes bins"],
) -> Float[np.ndarray, "*classes"]:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599), per class if given per class.

    The mean over classes is the class-wise ECE of Kull et al. 2019, arXiv:1910.12656.

    Args:
        counts: counts per bin, as in `CalibrationCounts`.

    Returns:
        Mean of |fraction of positives - mean score| over bins, weighted by their number of
        pixels. NaN without pixels.
    """
    pixels, positives, scores = counts
    total = pixels.sum(-1)
    gaps = np.abs(positives * UNIT - scores).sum(-1) / UNIT
    return np.where(total > 0, gaps / np.maximum(total, 1), np.nan)
