"""p-values of many tests."""

import numpy as np
from jaxtyping import Float


def holm(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Correct p-values so that any false finding among all tests is as rare as one p says.

    The k-th smallest of m values is multiplied by m - k + 1, and is at least as large as those
    before it (Holm 1979, A simple sequentially rejective multiple test procedure).
    """
    order = np.argsort(p)
    factors = len(p) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors))
    return corrected
