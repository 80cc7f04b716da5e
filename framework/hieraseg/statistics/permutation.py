"""The differences that there would be if two rows were the same."""

import numpy as np
from jaxtyping import Float, Float64, UInt8

from hieraseg.statistics.overlap import Overlap
from hieraseg.statistics.resampling import blocks


class Swapping:
    """Swaps images between a baseline and other rows.

    Args:
        baseline: counts of the baseline's runs.
        swaps: 1 for each image that is swapped.
    """

    def __init__(self, baseline: Overlap, swaps: UInt8[np.ndarray, "resamples N"]) -> None:
        _, runs, images, classes = baseline.counts.shape
        self.swaps = swaps
        self.total = baseline.total()[:, :, None]
        self.moved: Float64[np.ndarray, "2 runs resamples C"] = np.empty(
            (2, runs, len(swaps), classes)
        )
        for rows in blocks(len(swaps), max(images, 2 * runs * classes)):
            self.moved[:, :, rows] = baseline.sums(swaps[rows])

    def differences(self, row: Overlap) -> Float[np.ndarray, "resamples K"]:
        """Differences between a row and the baseline after images were swapped.

        If the rows do not differ, an image might as well have been predicted by the other one, so
        the difference that was found is one of these: a paired permutation test (Good 2005,
        Permutation, Parametric and Bootstrap Tests of Hypotheses, chapter 3). An image is swapped
        for all seeds together, between each run of the row and each of the baseline; the mean over
        these pairs is the difference of the means over seeds.

        Args:
            row: counts of the row's runs.
        """
        _, runs, images, classes = row.counts.shape
        baseline_runs = self.moved.shape[1]
        width = max(images, 2 * (runs + baseline_runs) * classes)
        pairs = [(one, other) for one in range(runs) for other in range(baseline_runs)]
        total, parts = row.total()[:, :, None], []
        for rows in blocks(len(self.swaps), width):
            moved, moved_baseline = row.sums(self.swaps[rows]), self.moved[:, :, rows]
            kept, kept_baseline = total - moved, self.total - moved_baseline
            differences = (
                row.scores(kept[:, one] + moved_baseline[:, other])
                - row.scores(kept_baseline[:, other] + moved[:, one])
                for one, other in pairs
            )
            parts.append(sum(differences) / len(pairs))
        return np.concatenate(parts)
