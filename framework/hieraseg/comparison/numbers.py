"""Numbers as text, the same in each table and on the page.

Scores and their differences are fractions: 0.654 is 65.4 points.
"""

import statistics
from collections.abc import Sequence

from hieraseg.comparison.difference import SIGNIFICANCE


def mean(values: Sequence[float | None]) -> float | None:
    """Mean over seeds. Undefined values are left out; None if there is no other."""
    defined = [value for value in values if value is not None]
    return statistics.mean(defined) if defined else None


def spread(values: Sequence[float | None]) -> float | None:
    """Sample standard deviation over seeds; None for fewer than two defined values."""
    defined = [value for value in values if value is not None]
    return statistics.stdev(defined) if len(defined) > 1 else None


def mean_and_spread(values: Sequence[float | None]) -> str:
    """As in `0.654 ± 0.012`, or `0.654` for one value; `-` for none.

    Where some values are undefined, how many are not, as in `3.5 ± 0.2 (2 of 3)`.
    """
    center, deviation = mean(values), spread(values)
    if center is None:
        return "-"
    digits = 3 if abs(center) < 10 else 1
    text = f"{center:.{digits}f}"
    if deviation is not None:
        text += f" ± {deviation:.{digits}f}"
    defined = sum(value is not None for value in values)
    return text if defined == len(values) else f"{text} ({defined} of {len(values)})"


def amount(value: float | None) -> str:
    """A cost with three digits, or more before the point, as in `1.00` or `1,313; `-` for none."""
    if value is None:
        return "-"
    return f"{value:#.3g}".rstrip(".") if abs(value) < 999.5 else f"{value:,.0f}"


def difference(value: float) -> str:
    """As in `+0.021`."""
    return f"{value:+.3f}"


def interval(ends: tuple[float, float]) -> str:
    """As in `[-0.009, +0.034]`."""
    low, high = ends
    return f"[{low:+.3f}, {high:+.3f}]"


def probability(value: float) -> str:
    """As in `0.98`; certainty is not claimed, since resamples are finite."""
    return ">0.99" if value > 0.99 else "<0.01" if value < 0.01 else f"{value:.2f}"


def p_value(value: float) -> str:
    """As in `0.012`, or `0.0496` where three digits would be on the other side of 0.05."""
    if value < 0.001:
        return "<0.001"
    rounded = [f"{value:.{digits}f}" for digits in range(3, 16)]
    is_found = value < SIGNIFICANCE
    return next((one for one in rounded if (float(one) < SIGNIFICANCE) == is_found), rounded[-1])
