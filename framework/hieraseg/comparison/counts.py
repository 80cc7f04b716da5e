"""Reading the counts of rows."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Int64

from hieraseg.comparison.level_counts import LevelCounts, SplitCounts
from hieraseg.comparison.rows import Row
from hieraseg.errors import RecipeError
from hieraseg.runs.counts import COUNTS, counts_file, read_arrays, read_ids, read_levels
from hieraseg.runs.finished import FinishedRun
from hieraseg.statistics.overlap import mean_iou

_TREE_SCORES = {"coherence": ("coherent", "pixels"), "mistake_distance": ("distance", "mistakes")}
"""Scores over all levels that tables show, and the counts whose ratios they are."""


def read_counts(row: Row) -> list[LevelCounts]:
    """Read the counts of a row, coarsest level first.

    Images are in the order of `image_ids`, in whatever order each run was scored on them.

    Raises:
        RecipeError: a file of counts is missing, damaged, or not that of the run's scores; or runs
            were scored on other images or targets.
    """
    return read_split(row).levels


def image_ids(row: Row) -> list[str]:
    """Ids of the images that a row was scored on, in the order of its first run.

    Raises:
        RecipeError: its file of counts is missing or damaged.
    """
    return read_ids(row.runs[0])


def read_split(row: Row) -> SplitCounts:
    """What `read_counts` and `image_ids` return, with the title of the row."""
    first, *others = (_read_run(run) for run in row.runs)
    runs = [first, *(run.like(first) for run in others)]
    levels = [_stack([run.levels[index] for run in runs]) for index in range(len(first.levels))]
    return SplitCounts(row.title, first.ids, levels)


def _stack(runs: Sequence[LevelCounts]) -> LevelCounts:
    """Counts of several runs from those of each."""
    intersection, predicted, truth = (
        np.concatenate([getattr(run, count) for run in runs]) for count in COUNTS
    )
    return replace(runs[0], intersection=intersection, predicted=predicted, truth=truth)


def has_counts(run: FinishedRun) -> bool:
    """Whether a run keeps the counts of its scores; if it does, they have to give these scores.

    A file of counts that is damaged is none.

    Raises:
        RecipeError: the counts do not give the scores.
    """
    try:
        counts = read_levels(run, len(read_ids(run)))
        arrays = read_arrays(counts_file(run), set(chain(*_TREE_SCORES.values())))
    except RecipeError:
        return False
    _levels(run, counts)
    totals = {name: array.sum() for name, array in arrays.items()}
    scores: dict[str, Any] = {**run.scores}
    for score, (part, whole) in _TREE_SCORES.items():
        if score in scores:  # older runs lack some
            found = totals[part] / totals[whole] if totals[whole] else np.nan
            _check_equal(run, [scores[score]], [found])
    return True


def _read_run(run: FinishedRun) -> SplitCounts:
    """Counts of one run, in the order in which it was scored."""
    if "tree" not in run.scores:
        raise RecipeError(
            f"{run.path}: its scores do not say which class is background; "
            f"run `hieraseg evaluate {run.path}` again"
        )
    ids = read_ids(run)
    return SplitCounts(str(run.path), ids, _levels(run, read_levels(run, len(ids))))


def _levels(
    run: FinishedRun, counts: Sequence[Sequence[Int64[np.ndarray, "N _"]]]
) -> list[LevelCounts]:
    """The `COUNTS` of each level of a run, which give its scores."""
    background, levels = run.scores.get("tree", {}).get("background"), []
    for number, of_level in enumerate(counts, 1):
        classes = list(run.scores["levels"][number - 1]["iou"])
        is_foreground = np.array([name != background for name in classes])
        level = LevelCounts(number, classes, is_foreground, *(array[None] for array in of_level))
        _check_level_scores(level, run)
        levels.append(level)
    return levels


def _check_level_scores(level: LevelCounts, run: FinishedRun) -> None:
    scores, ious = run.scores["levels"][level.level - 1], level.iou()
    stored, found = [*scores["iou"].values()], [*ious[0]]
    if "tree" in run.scores:  # older scores do not say which class is left out
        stored, found = [scores["miou"], *stored], [*level.miou(), *found]
    if "miou_with_background" in scores:
        stored, found = [scores["miou_with_background"], *stored], [*mean_iou(ious), *found]
    _check_equal(run, stored, found, f" of level {level.level}")


def _check_equal(
    run: FinishedRun, stored: Sequence[float | None], found: Sequence[float], which: str = ""
) -> None:
    """Raise RecipeError if scores are not those that the counts of their run give."""
    expected = np.array([np.nan if score is None else score for score in stored])
    if not np.allclose(found, expected, rtol=0, atol=1e-9, equal_nan=True):
        raise RecipeError(
            f"{counts_file(run)}: its counts{which} do not give the scores in result.json, so one "
            "of the two files was changed, or is of another evaluation; evaluate the run again"
        )
