"""Corrected p-values against hand-worked ones, and against the procedure that defines them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.statistics.holm import holm


def test_by_hand() -> None:
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_array_equal(holm(np.array([0.6, 0.9])), [1, 1])
    assert holm(np.array([])).shape == (0,)


def rejected(p: list[float], level: float) -> set[int]:
    """Tests that Holm's procedure rejects: from the smallest p, until one is too large."""
    found: set[int] = set()
    for step, test in enumerate(np.argsort(p, kind="stable")):
        if p[test] > level / (len(p) - step):
            break
        found.add(int(test))
    return found


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12), st.integers(1, 99))
def test_is_the_procedure(thousandths: list[int], percent: int) -> None:
    p, level = [value / 1000 for value in thousandths], percent / 100 + 1e-6
    assert set(np.flatnonzero(holm(np.array(p)) <= level)) == rejected(p, level)
