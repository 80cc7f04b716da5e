"""The columns of a comparison: how many seeds, settings that differ, scores and costs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hieraseg.comparison import numbers
from hieraseg.comparison.rows import Row
from hieraseg.comparison.settings import by_section
from hieraseg.runs.finished import FinishedRun

_LEVEL_SCORES = {
    "mIoU": "miou",
    "mIoU with background": "miou_with_background",
    "mIoU per image": "miou_per_image",
    "accuracy": "mean_accuracy",
    "pixel accuracy": "pixel_accuracy",
    "Dice": "mean_dice",
    "frequency-weighted IoU": "frequency_weighted_iou",
    "boundary IoU": "mean_boundary_iou",
    "ECE": "ece",
    "class-wise ECE": "classwise_ece",
    "sibling mistakes": "sibling_mistakes",
}
_TREE_SCORES = {
    "coherence": "coherence",
    "mistake severity": "mistake_distance",
    "hierarchical precision": "hierarchical_precision",
    "hierarchical recall": "hierarchical_recall",
    "hierarchical F1": "hierarchical_f1",
}
_COSTS = {
    "parameters (M)": ("parameters", 1e6),
    "FLOPs per image (G)": ("flops", 1e9),
    "images/s": ("images_per_second", 1),
    "peak memory (GiB)": ("peak_memory_bytes", 2**30),
    "minutes": ("seconds", 60),
}
_MAIN = ("mIoU", "coherence", "mistake severity")
_LOW_IS_BEST = {"mistake severity", "ECE", "class-wise ECE"}  # of the scores
_HIGH_IS_BEST = {"images/s"}  # of the costs
_NAMES = {"mistake severity": "mistake distance"}
OPTIONAL = (
    *("peak memory (GiB)", "FLOPs per image (G)", "images/s", "minutes", "parameters (M)"),
    *("mistake severity", "coherence"),
)
"""Columns that narrow terminals have no room for, the least important first."""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title: its heading, as in `mIoU L3` or `loss.gamma`.
        kind: what it shows.
        text: the cell of a row.
        values: for scores and costs, the value of each run; None where it is undefined.
        best: whether high or low values come first when rows are sorted; None for settings.
    """

    title: str
    kind: Literal["seeds", "setting", "score", "cost"]
    text: Callable[[Row], str]
    values: Callable[[Row], list[float | None]] | None = None
    best: Literal["high", "low"] | None = None

    @property
    def base(self) -> str:
        """Its title without a level, as in `mIoU`."""
        return re.sub(r" L\d+$", "", self.title)

    @property
    def name(self) -> str:
        """Its key in JSON, which older versions wrote, too."""
        return _NAMES.get(self.title, self.title)


def all_columns(rows: Sequence[Row]) -> list[Column]:
    """All columns of some rows: seeds, settings, scores of each level, scores of trees, costs."""
    levels = sorted({one["level"] for row in rows for one in row.scores[0]["levels"]})
    settings = [key for row in rows for key in row.settings]
    return [
        Column("n", "seeds", lambda row: str(len(row.runs)), best="high"),
        *map(_setting, by_section(settings, settings)),
        *(_level_score(title, level) for title in _LEVEL_SCORES for level in levels),
        *map(_tree_score, _TREE_SCORES),
        *map(_cost, _COSTS),
    ]


def main_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that people read, without costs that no run has."""
    return [
        column
        for column in all_columns(rows)
        if column.kind in ("seeds", "setting")
        or (column.kind == "score" and column.base in _MAIN)
        or (column.kind == "cost" and any(column.text(row) != "-" for row in rows))
    ]


def _setting(key: str) -> Column:
    return Column(key, "setting", lambda row: row.settings.get(key, "-"))


def _level_score(title: str, level: int) -> Column:
    key = _LEVEL_SCORES[title]

    def value(run: FinishedRun) -> Any:
        found = (one for one in run.scores["levels"] if one["level"] == level)
        return dict(next(found, {})).get(key)

    return _score(f"{title} L{level}", value, title)


def _tree_score(title: str) -> Column:
    return _score(title, lambda run: run.scores.get(_TREE_SCORES[title]), title)


def _score(title: str, value: Callable[[FinishedRun], Any], base: str) -> Column:
    def values(row: Row) -> list[float | None]:
        return [value(run) for run in row.runs]

    def text(row: Row) -> str:
        return numbers.mean_and_spread(values(row))

    return Column(title, "score", text, values, "low" if base in _LOW_IS_BEST else "high")


def _cost(title: str) -> Column:
    key, unit = _COSTS[title]

    def values(row: Row) -> list[float | None]:
        costs = [cost.get(key) for cost in row.costs]
        return [None if cost is None else cost / unit for cost in costs]

    def text(row: Row) -> str:
        return numbers.amount(numbers.mean(values(row)))

    return Column(title, "cost", text, values, "high" if title in _HIGH_IS_BEST else "low")
