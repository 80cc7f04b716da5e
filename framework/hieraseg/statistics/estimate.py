"""The difference of two rows, and how sure it is.

The scores of a run depend on its seed and on the images of the split. With s for the seed, i for
images, and e for what a seed does on single images, the score of run r of row A is

    score(A, r) = mean(A) + s(A, r) + i(A) + e(A, r),

with i and e about as large as 1 / sqrt(N). The bootstrap over images of the mean over seeds has i
and e, the variance between seeds has s and e. So the noise of a difference is drawn as that of the
bootstrap, plus that of seeds, whose variance has the bootstrap's share of it subtracted: the usual
estimate of a variance component (Searle, Casella and McCulloch 1992, Variance Components). Three
seeds say little about their variance, which is what Student's t is for, with the degrees of freedom
of Welch (1947).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hieraseg.statistics.resampling import random

_ROUNDING = 1e-12
"""Differences of scores that are no larger are those of floating-point sums."""


@dataclass(frozen=True)
class Scored:
    """K scores of a row's runs.

    Attributes:
        scores: those of the split.
        resampled: those of bootstrap samples of its images (see `bootstrap`).
    """

    scores: Float[np.ndarray, "runs K"]
    resampled: Float[np.ndarray, "runs resamples K"]


@dataclass(frozen=True)
class Estimate:
    """Differences of K scores between a row and a baseline.

    Attributes:
        difference: difference of the means over seeds.
        low: lower end of the 95 % interval.
        high: its upper end.
        probability_better: share of the bootstrap's differences that are positive; ties count half.
        p: p-value of no difference, of each score by itself.
        detectable: smallest difference that would be found in 80 % of comparisons at p < 0.05:
            with noise e, the 95 % quantile of abs(e) minus the 20 % quantile of e. That is 2.8
            standard errors if noise is normal.
    """

    difference: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    high: Float[np.ndarray, " K"]
    probability_better: Float[np.ndarray, " K"]
    p: Float[np.ndarray, " K"]
    detectable: Float[np.ndarray, " K"]


def estimate(
    row: Scored, baseline: Scored, swapped: Float[np.ndarray, "resamples K"], images: int
) -> Estimate:
    """Estimate the differences between a row and a baseline.

    Rows with a single run have no noise of seeds, so the interval and p say only what other images
    would change.

    Args:
        row: scores of the row.
        baseline: scores of the baseline, on the same images and bootstrap samples.
        swapped: differences after images were swapped (see `Swapping`).
        images: number of images, at least 2.
    """
    difference = row.scores.mean(0) - baseline.scores.mean(0)
    seeds = _seed_noise(row, baseline, images)
    noise = _image_noise(row, baseline, images) + seeds
    draws = difference + noise
    low, high = np.clip(np.nanquantile(draws, (0.025, 0.975), axis=0), -1, 1)
    is_extreme = np.abs(swapped + seeds) >= np.abs(difference) - _ROUNDING
    return Estimate(
        difference=difference,
        low=low,
        high=high,
        probability_better=np.nanmean(_sign(draws), axis=0) / 2 + 0.5,
        p=(is_extreme.sum(0) + 1) / (len(swapped) + 1),
        detectable=_detectable(noise),
    )


def _image_noise(row: Scored, baseline: Scored, images: int) -> Float[np.ndarray, "resamples K"]:
    """How far differences on bootstrap samples are from that of the split.

    The bootstrap's variance is too small by (N - 1) / N, and estimated from N images: both is
    mended by factors that turn normal noise into Student's t with N - 1 degrees of freedom.
    """
    resampled = row.resampled.mean(0) - baseline.resampled.mean(0)
    deviations = resampled - (row.scores.mean(0) - baseline.scores.mean(0))
    chi_square = random("images").chisquare(images - 1, size=len(deviations))
    return deviations * np.sqrt(images / chi_square)[:, None]


def _seed_noise(row: Scored, baseline: Scored, images: int) -> Float[np.ndarray, "resamples K"]:
    """Noise that the means over seeds have beside that of images."""
    one, other = _seed_variance(row, images), _seed_variance(baseline, images)
    runs = len(row.scores), len(baseline.scores)
    terms = [v**2 / (n - 1) for v, n in zip((one, other), runs, strict=True) if n > 1]
    variance = one + other
    noise = np.zeros(row.resampled.shape[1:])
    for k in np.flatnonzero(variance > 0):
        freedom = variance[k] ** 2 / sum(term[k] for term in terms)
        # The same random numbers for all scores, so that none depends on which others there are.
        draws = random("seeds").standard_t(freedom, size=len(noise))
        noise[:, k] = np.sqrt(variance[k]) * draws
    return noise


def _seed_variance(row: Scored, images: int) -> Float[np.ndarray, " K"]:
    """Variance of the mean over seeds, apart from that of images."""
    runs = len(row.scores)
    if runs == 1:
        return np.zeros(row.scores.shape[1])
    deviations = row.resampled - row.resampled.mean(0)
    of_images = np.nanvar(deviations, axis=1).sum(0) / (runs - 1) * images / (images - 1)
    return np.maximum(0, row.scores.var(0, ddof=1) - of_images) / runs


def _detectable(noise: Float[np.ndarray, "resamples K"]) -> Float[np.ndarray, " K"]:
    critical = np.nanquantile(np.abs(noise), 0.95, axis=0)
    return np.minimum(critical - np.nanquantile(noise, 0.2, axis=0), 1)


def _sign(draws: Float[np.ndarray, "resamples K"]) -> Float[np.ndarray, "resamples K"]:
    return np.sign(np.where(np.abs(draws) <= _ROUNDING, 0, draws))
