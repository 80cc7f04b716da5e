"""Bootstrap samples of scores."""

import numpy as np
from jaxtyping import Float, UInt8

from hieraseg.statistics.overlap import Overlap
from hieraseg.statistics.resampling import blocks


def bootstrap(
    overlap: Overlap, weights: UInt8[np.ndarray, "resamples N"]
) -> Float[np.ndarray, "runs resamples K"]:
    """Scores of bootstrap samples of the images (Efron and Tibshirani 1993, chapter 6).

    Counts are summed over a sample before scores are computed from them, as over a split. All runs
    are scored on the same samples.

    Args:
        overlap: counts of the runs.
        weights: how often each image is in each sample.
    """
    _, runs, images, classes = overlap.counts.shape
    parts = [
        overlap.scores(overlap.sums(weights[rows]))
        for rows in blocks(len(weights), max(images, 2 * runs * classes))
    ]
    return np.concatenate(parts, axis=1)
