"""Tables of results on stdout."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title or None, title_justify="left")
    for column, heading in enumerate(header):
        table.add_column(heading, justify="right" if column else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # A pipe has no width; what it cuts is lost.
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def print_scores(scores: dict[str, Any], title: str) -> None:
    """The scores of a split under their names in `result.json` (see `metrics.summarize`)."""
    levels = scores["levels"]
    of_classes = [key for key, value in levels[0].items() if isinstance(value, dict)]
    of_levels = [key for key in levels[0] if key not in ("level", *of_classes)]
    of_tree = [key for key, value in scores.items() if value is None or isinstance(value, float)]
    classes = [
        [f"{level['level']} {name}", *(_number(level[key][name]) for key in of_classes)]
        for level in levels
        for name in level["iou"]
    ]
    print_table(["level, class", *of_classes], classes, title)
    means = [[key, *(_number(level[key]) for level in levels)] for key in of_levels]
    print_table(["", *(f"level {level['level']}" for level in levels)], means)
    print_table(["", "tree"], [[key, _number(scores[key])] for key in of_tree])
    print(f"{scores['images']} images at {scores['resolution']} resolution, {scores['tta']}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
