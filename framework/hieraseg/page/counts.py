"""Counts of a row over all images and seeds."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from hieraseg.comparison.rows import Row
from hieraseg.errors import RecipeError
from hieraseg.runs.counts import read_arrays
from hieraseg.runs.folder import RunFolder


def summed_counts(
    row: Row, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Int[np.ndarray, "..."]]:
    """Sum arrays of counts over the runs of a row.

    Args:
        row: the row.
        shapes: shape of each array by its name, as in `{"confusion_1": (2, 2)}`.

    Raises:
        RecipeError: a file of counts is missing or damaged, or holds arrays of other shapes.
    """
    total = {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}
    for run in row.runs:
        file = RunFolder(run.path).counts(run.key)
        for name, counts in read_arrays(file, shapes).items():
            if counts.shape != shapes[name] or not np.issubdtype(counts.dtype, np.integer):
                raise RecipeError(f"{file}: {name} is not of these scores; evaluate the run again")
            total[name] += counts
    return total
