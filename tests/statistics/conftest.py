"""Counts shared by the tests of statistics."""

import numpy as np
import pytest

from hieraseg.statistics.overlap import Overlap
from tests.support.simulated_splits import Simulation


@pytest.fixture(scope="module")
def pair() -> tuple[Overlap, Overlap]:
    """A row of two runs and a baseline of three, on 60 images."""
    simulation = Simulation((2, 3), images=60, seed=0.1, image=0.5, both=0.2, effect=0.3)
    return simulation.draw(np.random.default_rng(0))
