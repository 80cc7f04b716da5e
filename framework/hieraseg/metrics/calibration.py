"""Expected calibration error: the gap between scores and the fraction of correct predictions."""

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

_CHUNK = 2**20  # scores per chunk: temporary tensors take several times the memory of the scores


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
    classes, weights = scores.shape[1], valid.long()
    own = scores.gather(1, target.clamp(min=0)[:, None])
    index = _quantize(own, valid)[1][:, 0] + target.clamp(min=0) * BINS
    positives = count_values(index, (target >= 0).long(), classes * BINS)
    pixels, sums = [], []
    for chunk in scores.split(max(1, _CHUNK // max(1, target.numel())), dim=1):
        units, index = _quantize(chunk, valid)
        size = chunk.shape[1] * BINS
        index += torch.arange(0, size, BINS, device=scores.device)[:, None, None]
        pixels.append(count_values(index, weights[:, None].expand_as(index), size))
        sums.append(count_values(index, units, size))
    return torch.stack([torch.cat(pixels), positives, torch.cat(sums)]).view(3, classes, BINS)


def _quantize(
    scores: Float[Tensor, "B C H W"], valid: Bool[Tensor, "B H W"]
) -> tuple[Int[Tensor, "B C H W"], Int[Tensor, "B C H W"]]:
    """Scores in integer units, and their bins. Invalid pixels and NaN become 0."""
    factor = (valid * float(UNIT))[:, None]
    units = (scores.float() * factor).round_().nan_to_num_(0).clamp_(0, UNIT)
    return units.long(), (units * (BINS / UNIT)).long().clamp_(max=BINS - 1)


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
