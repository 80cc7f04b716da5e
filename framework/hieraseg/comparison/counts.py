"""Reading the counts of rows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hieraseg.comparison.level_counts import LevelCounts, SplitCounts
from hieraseg.comparison.rows import Row
from hieraseg.errors import RecipeError
from hieraseg.runs.counts import COUNTS, counts_file, read_ids, read_levels
from hieraseg.runs.finished import FinishedRun


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


def _read_run(run: FinishedRun) -> SplitCounts:
    """Counts of one run, in the order in which it was scored."""
    if "tree" not in run.scores:
        raise RecipeError(
            f"{run.path}: its scores do not say which class is background; "
            f"run `hieraseg evaluate {run.path}` again"
        )
    background, ids = run.scores["tree"]["background"], read_ids(run)
    levels = []
    for number, counts in enumerate(read_levels(run, len(ids)), 1):
        classes = list(run.scores["levels"][number - 1]["iou"])
        is_foreground = np.array([name != background for name in classes])
        level = LevelCounts(number, classes, is_foreground, *(array[None] for array in counts))
        _check_scores(level, run)
        levels.append(level)
    return SplitCounts(str(run.path), ids, levels)


def _check_scores(level: LevelCounts, run: FinishedRun) -> None:
    """Raise RecipeError if the counts of a run are not those of its scores."""
    scores = run.scores["levels"][level.level - 1]
    stored = [scores["miou"], *scores["iou"].values()]
    expected = np.array([np.nan if score is None else score for score in stored])
    found = [*level.miou(), *level.iou()[0]]
    if not np.allclose(found, expected, rtol=0, atol=1e-9, equal_nan=True):
        raise RecipeError(
            f"{counts_file(run)}: its counts of level {level.level} do not give the scores in "
            "result.json, so they are of another evaluation; evaluate the run again"
        )
