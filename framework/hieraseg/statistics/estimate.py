"""The difference of the scores of two rows, and how sure it is.

The score of a run depends on its seed and on the images of the split. Run r of row A has

    score(A, r) = mean(A) + seed(A, r) + images(A) + both(A, r),

where `images` is the noise that the images of a split add for all runs of a row, and `both` what
they add for a single run. The bootstrap of the mean over seeds contains `images` and `both`. The
variance between seeds contains `seed` and `both`. So the noise of a difference is that of the
bootstrap, plus noise with the variance between seeds less the share of `both`, which is known from
the bootstrap. This is the estimate of a variance component by the method of moments (Searle,
Casella and McCulloch 1992, Variance Components, chapter 4). Because few seeds say little about
their variance, the added noise is Student's t with the degrees of freedom of Welch (1947, The
generalization of Student's problem).

Simulations of splits whose truth is known are in `tests/statistics/test_simulations.py`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hieraseg.statistics.resampling import random

_ROUNDING = 1e-12
"""Scores that differ by no more are equal, but for rounding."""


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
            standard errors if noise is normal. NaN if there is no noise at all.
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

    A row with a single run does not show the noise of seeds, which its interval and p then lack.

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
    """Deviations of the differences on bootstrap samples from that on the split.

    The variance of N images is estimated with N - 1 degrees of freedom, and on bootstrap samples it
    is smaller by (N - 1) / N. One factor corrects both, and makes normal deviations Student's t.
    """
    resampled = row.resampled.mean(0) - baseline.resampled.mean(0)
    deviations = resampled - (row.scores.mean(0) - baseline.scores.mean(0))
    chi_square = random("images").chisquare(images - 1, size=len(deviations))
    return deviations * np.sqrt(images / chi_square)[:, None]


def _seed_noise(row: Scored, baseline: Scored, images: int) -> Float[np.ndarray, "resamples K"]:
    """Noise of the seeds, without that of images."""
    rows = (row, baseline)
    variances = np.stack([_seed_variance(one, images) for one in rows])
    freedom = np.array([max(1, len(one.scores) - 1) for one in rows])
    total = variances.sum(0)
    noise = np.zeros(row.resampled.shape[1:])
    for k in np.flatnonzero(total > 0):
        welch = 1 / ((variances[:, k] / total[k]) ** 2 / freedom).sum()
        # The same random numbers for all scores, so that none depends on which others there are.
        noise[:, k] = np.sqrt(total[k]) * random("seeds").standard_t(welch, size=len(noise))
    return noise


def _seed_variance(row: Scored, images: int) -> Float[np.ndarray, " K"]:
    """Variance of the mean over seeds, without that of images; 0 for a single run."""
    runs = len(row.scores)
    if runs == 1:
        return np.zeros(row.scores.shape[1])
    deviations = row.resampled - row.resampled.mean(0)
    of_images = np.nanvar(deviations, axis=1).sum(0) / (runs - 1) * images / (images - 1)
    return np.maximum(0, row.scores.var(0, ddof=1) - of_images) / runs


def _detectable(noise: Float[np.ndarray, "resamples K"]) -> Float[np.ndarray, " K"]:
    critical = np.nanquantile(np.abs(noise), 0.95, axis=0)
    found = np.minimum(critical - np.nanquantile(noise, 0.2, axis=0), 1)
    return np.where((np.abs(noise) > _ROUNDING).any(0), found, np.nan)


def _sign(draws: Float[np.ndarray, "resamples K"]) -> Float[np.ndarray, "resamples K"]:
    return np.sign(np.where(np.abs(draws) <= _ROUNDING, 0, draws))
