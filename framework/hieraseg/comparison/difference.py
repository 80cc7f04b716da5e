"""The difference of a row to the baseline."""

from dataclasses import dataclass
from typing import Literal

SIGNIFICANCE = 0.05
"""Corrected p-value below which a difference gets a verdict other than `not distinguishable`."""

Verdict = Literal["better", "worse", "not distinguishable"]


@dataclass(frozen=True)
class Difference:
    """How much higher the mIoU of a level, or the IoU of a class, is than that of the baseline.

    Attributes:
        level: the level, from 1 for the coarsest.
        class_name: the class; None for the mean over the classes of the level.
        difference: difference of the means over seeds.
        interval: 95 % interval over other images and other seeds, lower and upper end. With a
            single run in this row or the baseline, the noise of its seed is missing.
        probability_better: probability that the difference is positive.
        p: p-value of no difference, corrected (Holm 1979) over all rows and levels; for classes,
            over those of the row.
        detectable: smallest difference that these images and seeds would show in four of five
            comparisons at p < 0.05, without correction; NaN if both are scored alike on each image,
            which says nothing of the noise.
        verdict: None with fewer than three seeds in this row or the baseline, or with so many
            differences, or so few images, that none could be significant.
    """

    level: int
    class_name: str | None
    difference: float
    interval: tuple[float, float]
    probability_better: float
    p: float
    detectable: float
    verdict: Verdict | None
