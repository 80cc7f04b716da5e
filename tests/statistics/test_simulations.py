"""How often intervals hold the truth, and tests find what is not there, on simulated splits."""

import numpy as np
import pytest

from tests.support.simulated_splits import Simulation

NOISE = {
    "seeds": {"seed": 0.15, "image": 0.1, "both": 0.05},
    "images": {"seed": 0.01, "image": 1.5, "both": 0.1},
    "runs on images": {"both": 1.0},
    "all": {"seed": 0.08, "image": 1.0, "both": 0.7},
}


def rates(simulation: Simulation, truth: float, number: int) -> tuple[float, float]:
    """How often the interval holds the truth, and how often p is below 0.05."""
    found = list(simulation.estimates(number, resamples=300))
    is_covered = [one.low[0] <= truth <= one.high[0] for one in found]
    return float(np.mean(is_covered)), float(np.mean([one.p[0] < 0.05 for one in found]))


@pytest.mark.parametrize("noise", ["seeds", "images"])
def test_rows_that_do_not_differ(noise: str) -> None:
    """150 experiments: 95 % within three standard errors."""
    coverage, size = rates(Simulation((3, 3), images=40, **NOISE[noise]), 0, 150)
    assert coverage >= 0.9
    assert size <= 0.1


def test_a_difference_is_found() -> None:
    simulation = Simulation((3, 3), images=200, effect=0.5, **NOISE["all"])
    truth = simulation.truth(500)
    coverage, power = rates(simulation, truth, 50)
    assert truth > 0.05
    assert coverage > 0.85
    assert power > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(3, 3), (5, 5), (3, 5)])
@pytest.mark.parametrize("noise", NOISE)
def test_coverage_and_size(noise: str, seeds: tuple[int, int]) -> None:
    """1,000 experiments: 93 to 98 %, and 6 %, with two standard errors on either side."""
    coverage, size = rates(Simulation(seeds, images=50, **NOISE[noise]), 0, 1000)
    print(f"seeds {seeds}, noise of {noise}: coverage {coverage:.3f}, size {size:.3f}")
    assert 0.915 <= coverage <= 0.985
    assert size <= 0.075
