"""Expected calibration error: how far scores are from the share of answers that are right."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_values

BINS = 20
"""Bins of equal width over 0..1, each with its lower edge, the last one with both."""

UNIT = 2**24
"""Confidences are summed in units of 1 / UNIT, the precision of float32 below 1: whole numbers add
up to the same sum in every order."""

_CHUNK = 2**20  # scores at a time: what is computed of each takes several times its memory


class CalibrationCounts:
    """Counts per bin of confidence, over all images.

    Scores are taken as they are: those of a `sigmoid` do not add up to 1 over a level's classes.

    Attributes:
        counts: int64, on the device. Per level l `calibration_l` `[3, BINS]` of the answered
            class's score and `classwise_calibration_l` `[3, C_l, BINS]` of every class's: pixels
            whose score is in the bin; those of them where that class is the truth; the sum of
            their scores, in units of 1 / UNIT.

    Args:
        hierarchy: the class tree.
        device: where to count.
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
            answer, truth = predicted[:, level], targets[:, level]
            known = truth != IGNORE_INDEX
            # Of the answered class, which need not be the one of the highest score.
            confidence = score.gather(1, answer[:, None])
            right = torch.where(known & (answer == truth), 0, -1)
            found = count_per_bin(confidence, right, known)
            self.counts[f"calibration_{level + 1}"] += found[:, 0]
            found = count_per_bin(score, truth, known)
            self.counts[f"classwise_calibration_{level + 1}"] += found


def count_per_bin(
    scores: Float[Tensor, "B C H W"], truth: Int[Tensor, "B H W"], known: Bool[Tensor, "B H W"]
) -> Int[Tensor, "3 C bins"]:
    """Pixels, true ones and sum of scores per class and bin.

    Args:
        scores: in 0..1.
        truth: which of the C classes is true; negative where none is.
        known: the pixels to count.
    """
    classes, weights = scores.shape[1], known.long()
    own = scores.gather(1, truth.clamp(min=0)[:, None])
    place = _quantise(own, known)[1][:, 0] + truth.clamp(min=0) * BINS
    true = count_values(place, (truth >= 0).long(), classes * BINS)
    pixels, sums = [], []
    for chunk in scores.split(max(1, _CHUNK // max(1, truth.numel())), dim=1):
        units, place = _quantise(chunk, known)
        size = chunk.shape[1] * BINS
        place += torch.arange(0, size, BINS, device=scores.device)[:, None, None]
        pixels.append(count_values(place, weights[:, None].expand_as(place), size))
        sums.append(count_values(place, units, size))
    return torch.stack([torch.cat(pixels), true, torch.cat(sums)]).view(3, classes, BINS)


def _quantise(
    scores: Float[Tensor, "B C H W"], known: Bool[Tensor, "B H W"]
) -> tuple[Int[Tensor, "B C H W"], Int[Tensor, "B C H W"]]:
    """Scores in whole units, and their bins; 0 where not known, or not a number."""
    factor = (known * float(UNIT))[:, None]
    units = (scores.float() * factor).round_().nan_to_num_(0).clamp_(0, UNIT)
    return units.long(), (units * (BINS / UNIT)).long().clamp_(max=BINS - 1)


def calibration_error(
    counts: Int[np.ndarray, "3 *classes bins"],
) -> Float[np.ndarray, "*classes"]:
    """ECE (Guo et al. 2017, arXiv:1706.04599), of each class if there are several.

    Its mean over classes is the class-wise ECE of Kull et al. 2019, arXiv:1910.12656.

    Args:
        counts: as in `CalibrationCounts`.

    Returns:
        Mean over pixels of |share that is true - mean score| of their bin; NaN without pixels.
    """
    pixels, true, scores = counts
    total = pixels.sum(-1)
    gaps = np.abs(true * UNIT - scores).sum(-1) / UNIT
    return np.where(total > 0, gaps / np.maximum(total, 1), np.nan)
