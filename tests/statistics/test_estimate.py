"""Estimates against Welch's t-test where only seeds differ, and limits by hand."""

import numpy as np
import pytest
import scipy.stats
from jaxtyping import Float

from hieraseg.statistics.bootstrap import bootstrap
from hieraseg.statistics.estimate import Estimate, Scored, estimate
from hieraseg.statistics.overlap import Overlap
from hieraseg.statistics.permutation import Swapping
from hieraseg.statistics.resampling import bootstrap_weights, swaps

RESAMPLES = 20_000
Pair = tuple[Overlap, Overlap]


def without_image_noise(*scores: float) -> Scored:
    """Runs whose scores are the same on all bootstrap samples."""
    column = np.array(scores)[:, None]
    return Scored(column, column[:, None].repeat(RESAMPLES, 1))


def of_runs(overlap: Overlap, resamples: int = 2000) -> Scored:
    weights = bootstrap_weights(overlap.counts.shape[2], resamples)
    return Scored(overlap.scores(overlap.total()), bootstrap(overlap, weights))


def compared(row: Overlap, baseline: Overlap, resamples: int = 2000) -> Estimate:
    images = row.counts.shape[2]
    swapped = Swapping(baseline, swaps(images, resamples)).differences(row)
    return estimate(of_runs(row, resamples), of_runs(baseline, resamples), swapped, images)


@pytest.mark.parametrize(
    ("row", "baseline"),
    [
        ((0.51, 0.52, 0.54), (0.49, 0.50, 0.51)),
        ((0.5, 0.56, 0.52, 0.51, 0.53), (0.5, 0.49, 0.505)),
        ((0.2, 0.4), (0.3, 0.31, 0.32)),
    ],
)
def test_noise_of_seeds_alone_is_a_t_test(
    row: tuple[float, ...], baseline: tuple[float, ...]
) -> None:
    found = estimate(
        without_image_noise(*row),
        without_image_noise(*baseline),
        np.zeros((RESAMPLES, 1)),
        images=100,
    )
    expected = scipy.stats.ttest_ind(row, baseline, equal_var=False)
    interval = np.clip(expected.confidence_interval(0.95), -1, 1)
    width = interval[1] - interval[0]
    assert found.difference[0] == pytest.approx(np.mean(row) - np.mean(baseline))
    assert found.p[0] == pytest.approx(expected.pvalue, abs=0.01)
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(interval), abs=0.05 * width)
    one_sided = scipy.stats.ttest_ind(row, baseline, equal_var=False, alternative="less").pvalue
    assert found.probability_better[0] == pytest.approx(one_sided, abs=0.01)


def test_noise_of_images_is_counted_once() -> None:
    """Runs whose scores differ as much as the bootstrap says that they would anyway."""
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 3, RESAMPLES, 1))
    scores = np.array([0.49, 0.50, 0.51])[:, None]  # variance 0.01^2, as the noise has
    row, baseline = (Scored(scores, scores[:, None] + one) for one in noise)
    found = estimate(row, baseline, np.zeros((RESAMPLES, 1)), images=10_000)
    expected = 1.96 * 0.01 * (2 / 3) ** 0.5
    assert found.high[0] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("images", [5, 30])
def test_few_images_widen_the_interval(images: int) -> None:
    """As Student's t does."""
    noise = np.random.default_rng(0).normal(0, 0.01, (1, RESAMPLES, 1))
    row = Scored(np.array([[0.5]]), 0.5 + noise * ((images - 1) / images) ** 0.5)
    found = estimate(row, without_image_noise(0.5), np.zeros((RESAMPLES, 1)), images)
    expected = 0.01 * scipy.stats.t.ppf(0.975, images - 1)
    assert (-found.low[0], found.high[0]) == pytest.approx((expected, expected), rel=0.07)


def test_detectable_is_2_8_standard_errors_of_normal_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (1, RESAMPLES, 1))
    row = Scored(np.array([[0.6]]), 0.6 + noise)
    found = estimate(row, without_image_noise(0.5), np.zeros((RESAMPLES, 1)), images=10_000)
    assert found.detectable[0] == pytest.approx(0.028, rel=0.03)


def test_the_same_runs_do_not_differ(pair: Pair) -> None:
    row, _ = pair
    found = compared(row, row)
    assert found.difference[0] == 0
    assert found.p[0] == 1
    assert found.low[0] <= 0 <= found.high[0]
    assert found.probability_better[0] == pytest.approx(0.5, abs=0.02)
    single = Overlap(row.counts[:, :1], row.is_foreground, row.shown)
    found = compared(single, single)
    assert (found.low[0], found.high[0]) == (0, 0)
    assert np.isnan(found.detectable[0])  # no noise says nothing of what could be detected
    assert (found.p[0], found.probability_better[0]) == (1, 0.5)


def test_p_is_never_zero() -> None:
    row, baseline = without_image_noise(0.9), without_image_noise(0.1)
    found = estimate(row, baseline, np.zeros((RESAMPLES, 1)), images=100)
    assert found.p[0] == 1 / (RESAMPLES + 1)


def test_exchanging_rows_changes_the_sign(pair: Pair) -> None:
    one, other = compared(*pair), compared(*reversed(pair))
    assert one.difference[0] == -other.difference[0]
    assert one.p[0] == pytest.approx(other.p[0], abs=0.03)
    assert one.low[0] == pytest.approx(-other.high[0], rel=0.2)


def test_samples_without_a_score_are_left_out() -> None:
    """A class that is in few images is missing in some samples."""
    scores: Float[np.ndarray, "1 R 1"] = np.full((1, RESAMPLES, 1), 0.7)
    scores[:, ::3] = np.nan
    row = Scored(np.array([[0.7]]), scores)
    found = estimate(row, without_image_noise(0.5), np.zeros((RESAMPLES, 1)), images=10_000)
    assert (found.low[0], found.high[0]) == pytest.approx((0.2, 0.2))
    assert found.probability_better[0] == 1


def test_scores_do_not_depend_on_others(pair: Pair) -> None:
    row, baseline = pair
    shown = np.arange(row.counts.shape[-1])
    with_classes = [Overlap(one.counts, one.is_foreground, shown) for one in pair]
    for found, expected in zip(
        vars(compared(*with_classes)).values(), vars(compared(row, baseline)).values(), strict=True
    ):
        assert found[0] == expected[0]
