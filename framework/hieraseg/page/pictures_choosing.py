"""Which images of a split are shown: by a rule, so that none is picked by hand."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Chosen(NamedTuple):
    """An image that is shown.

    Attributes:
        row: its row in the split.
        differs: whether it was chosen because the runs differ on it.
    """

    row: int
    differs: bool


def choose(scores: Float[np.ndarray, "runs images"], count: int) -> list[Chosen]:
    """Choose images: half of them spread evenly over the split, half where runs differ most.

    Args:
        scores: mIoU of each image by each run; NaN where it is not defined.
        count: number of images.

    Returns:
        The images that are spread evenly, then the others, largest difference first. Images on
        which no run differs are not chosen for that, but more that are spread evenly.
    """
    gaps = _gaps(scores)
    by_gap = [row for row in np.argsort(-gaps, kind="stable").tolist() if gaps[row] > 0]
    differing = by_gap[: count // 2]
    rest = [row for row in range(len(gaps)) if row not in set(differing)]
    spread = _spread(rest, count - len(differing))
    return [Chosen(row, False) for row in spread] + [Chosen(row, True) for row in differing]


def _gaps(scores: Float[np.ndarray, "runs images"]) -> Float[np.ndarray, " images"]:
    """Difference between the best and the worst run; 0 if it is not defined."""
    is_defined = ~np.isnan(scores).any(axis=0)
    return np.where(is_defined, np.ptp(np.nan_to_num(scores), axis=0), 0.0)


def _spread(rows: Sequence[int], count: int) -> list[int]:
    """Some of the rows, spread evenly."""
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return [rows[place] for place in places.tolist()]
