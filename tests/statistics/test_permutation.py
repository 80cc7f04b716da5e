"""Swapped images against a loop over runs, and against scipy."""

from itertools import product

import numpy as np
import pytest
import scipy.stats

from hieraseg.statistics.overlap import Overlap
from hieraseg.statistics.permutation import Swapping
from hieraseg.statistics.resampling import swaps

Pair = tuple[Overlap, Overlap]


def mean_difference(row: Overlap, baseline: Overlap) -> float:
    scores = [one.scores(one.total())[:, 0].mean() for one in (row, baseline)]
    return float(scores[0] - scores[1])


def some(overlap: Overlap, runs: int, images: int) -> Overlap:
    """The first runs and images."""
    return Overlap(overlap.counts[:, :runs, :images], overlap.is_foreground, overlap.shown)


def test_swaps_between_all_runs(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hieraseg.statistics.resampling._BLOCK", 200)
    row, baseline = pair
    swapped = swaps(60, 20)
    expected = []
    for choice in swapped.astype(bool)[:, :, None]:
        pairs = [
            (np.where(choice, b, a).sum(1), np.where(choice, a, b).sum(1))
            for a, b in product(row.counts.swapaxes(0, 1), baseline.counts.swapaxes(0, 1))
        ]
        scores = [row.scores(np.stack(two, axis=1)) for two in pairs]
        expected.append(np.mean([one - other for one, other in scores]))
    found = Swapping(baseline, swapped).differences(row)[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_no_swap_and_all_swaps(pair: Pair) -> None:
    row, baseline = pair
    swapped = np.array([[0], [1]], np.uint8).repeat(60, 1)
    expected = mean_difference(row, baseline)
    found = Swapping(baseline, swapped).differences(row)[:, 0]
    np.testing.assert_allclose(found, [expected, -expected], atol=1e-14)


@pytest.mark.parametrize("images", [6, 60])
def test_p_is_that_of_scipy(pair: Pair, images: int) -> None:
    """Of all swaps for 6 images, of random ones for 60."""
    row, baseline = (some(one, 1, images) for one in pair)
    counts = np.concatenate([row.counts[:, 0], baseline.counts[:, 0]], axis=1)

    def difference(one: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
        """Difference of mIoU, for places [..., N] of images in the counts of both rows."""
        scores = [row.scores(counts[:, places[..., None, :]].sum(-2)) for places in (one, other)]
        return (scores[0] - scores[1])[..., 0, 0]

    places = np.arange(2 * images)
    expected = scipy.stats.permutation_test(
        (places[:images], places[images:]),
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=4000,
        batch=500,
        rng=0,
        axis=-1,
    )
    choices = np.array(list(product((0, 1), repeat=6)), np.uint8)
    swapped = choices if images == 6 else swaps(images, 4000)
    null = Swapping(baseline, swapped).differences(row)[:, 0]
    p = (np.abs(null) >= abs(mean_difference(row, baseline)) - 1e-12).mean()
    assert p == pytest.approx(expected.pvalue, abs=1e-12 if images == 6 else 0.02)
    assert 0 < p < 0.5


def test_swaps_of_the_same_row_change_nothing(pair: Pair) -> None:
    row, _ = pair
    found = Swapping(row, swaps(60, 20)).differences(row)
    np.testing.assert_allclose(found, 0, atol=1e-14)
