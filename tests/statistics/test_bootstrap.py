"""Bootstrap samples against a loop over images, and against scipy."""

import numpy as np
import pytest
import scipy.stats

from hieraseg.statistics.bootstrap import bootstrap
from hieraseg.statistics.overlap import Overlap
from hieraseg.statistics.resampling import blocks, bootstrap_weights

Pair = tuple[Overlap, Overlap]


def test_samples_have_as_many_images_as_the_split() -> None:
    weights = bootstrap_weights(50, 2000)
    assert (weights.sum(1) == 50).all()
    expected = scipy.stats.binom.pmf(range(4), 50, 1 / 50)
    found = [(weights == times).mean() for times in range(4)]
    np.testing.assert_allclose(found, expected, atol=0.005)


def test_samples_are_the_same_each_time() -> None:
    np.testing.assert_array_equal(bootstrap_weights(7, 30), bootstrap_weights(7, 30))


@pytest.mark.parametrize("width", [1, 2**17, 2**22])
def test_blocks_cover_all_resamples(width: int) -> None:
    found = [row for rows in blocks(100, width) for row in range(100)[rows]]
    assert found == list(range(100))


def test_scores_of_samples(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the images that a sample has, each as often as it was drawn."""
    monkeypatch.setattr("hieraseg.statistics.resampling._BLOCK", 200)
    row, _ = pair
    weights = bootstrap_weights(60, 20)
    expected = [
        row.scores(row.counts[:, :, np.repeat(np.arange(60), times)].sum(2)) for times in weights
    ]
    np.testing.assert_array_equal(bootstrap(row, weights), np.stack(expected, axis=1))


def test_intervals_are_those_of_scipy(pair: Pair) -> None:
    row, baseline = pair

    def difference(images: np.ndarray, axis: int) -> np.ndarray:
        """Difference of the means over runs, for images [..., N]."""
        scores = [one.scores(one.counts[:, :, images].sum(3)) for one in (row, baseline)]
        return (scores[0].mean(0) - scores[1].mean(0))[..., 0]

    expected = scipy.stats.bootstrap(
        (np.arange(60),), difference, n_resamples=4000, method="percentile", rng=0, batch=500
    )
    weights = bootstrap_weights(60, 4000)
    draws = bootstrap(row, weights).mean(0) - bootstrap(baseline, weights).mean(0)
    low, high = np.quantile(draws, (0.025, 0.975))
    error = expected.standard_error
    assert draws.std() == pytest.approx(error, rel=0.05)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=error / 8)
