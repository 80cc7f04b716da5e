"""The counts of each image that a run folder keeps beside its scores."""

import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped

from hieraseg.errors import RecipeError
from hieraseg.runs.finished import FinishedRun
from hieraseg.runs.folder import RunFolder

COUNTS = ("intersection", "predicted", "truth")
"""Counts of a level: pixels predicted correctly, predicted, and in the target."""

_FIX = "restore it from a copy, or evaluate the run again"


def counts_file(run: FinishedRun) -> Path:
    """The file with the counts of a run's scores."""
    return RunFolder(run.path).counts(run.key)


def read_ids(run: FinishedRun) -> list[str]:
    """Ids of the images that a run was scored on, in the order of its counts.

    Raises:
        RecipeError: the file of counts is missing or damaged.
    """
    file = counts_file(run)
    ids = read_arrays(file, ["ids"])["ids"]
    if ids.ndim != 1 or ids.dtype.kind != "U" or len(set(ids.tolist())) != len(ids):
        raise RecipeError(f"{file}: is damaged (ids: expected a string per image); {_FIX}")
    return [str(id) for id in ids]


def read_levels(run: FinishedRun, images: int) -> list[list[Int64[np.ndarray, "N C"]]]:
    """For each level of a run's scores, its `COUNTS`.

    Args:
        run: the run.
        images: N, the number of images.

    Raises:
        RecipeError: the file of counts is missing or damaged.
    """
    file, levels = counts_file(run), run.scores["levels"]
    names = [[f"{count}_{number}" for count in COUNTS] for number in range(1, len(levels) + 1)]
    arrays = read_arrays(file, [name for of_level in names for name in of_level])
    counts = [[arrays[name] for name in of_level] for of_level in names]
    for number, (level, of_level) in enumerate(zip(levels, counts, strict=True), 1):
        problem = _problem(of_level, (images, len(level["iou"])))
        if problem:
            raise RecipeError(f"{file}: is damaged (level {number}: {problem}); {_FIX}")
    return [[array.astype(np.int64) for array in of_level] for of_level in counts]


def read_arrays(
    file: Path, names: Iterable[str] | None = None
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Read arrays of an `.npz` file.

    Args:
        file: the file.
        names: names of the arrays; None for all.

    Raises:
        RecipeError: the file is missing or damaged.
    """
    try:
        # Opened here, since NumPy does not close a damaged file.
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if names is None else names)}
    except FileNotFoundError:
        problem = "no such file"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
    # What `zipfile` and NumPy raise for headers of which some bytes have changed.
    except (
        *(AttributeError, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError),
        *(TypeError, ValueError, zipfile.BadZipFile, zlib.error),
    ) as error:
        problem = f"is damaged ({(str(error) or type(error).__name__).splitlines()[0]})"
    raise RecipeError(f"{file}: {problem}; {_FIX}")


def _problem(counts: Sequence[Shaped[np.ndarray, "..."]], shape: tuple[int, int]) -> str:
    """What is wrong with the counts of a level; empty if nothing is."""
    for name, array in zip(COUNTS, counts, strict=True):
        if array.shape != shape or not np.issubdtype(array.dtype, np.integer):
            return f"{name}: expected integers of shape {shape}, got {array.dtype} {array.shape}"
    intersection, predicted, truth = counts
    if (intersection < 0).any() or (intersection > np.minimum(predicted, truth)).any():
        return "more pixels are predicted correctly than there are"
    return ""
