"""Results on stdout, as JSON or as tables."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_result(as_json: bool, result: Any, text: str) -> None:
    """Print the result of a command.

    Args:
        as_json: whether `--json` is given.
        result: the result as JSON values.
        text: the result for people to read.
    """
    print(json.dumps(result, indent=2) if as_json else text)


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Lines of left-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """A table whose first column is left-aligned; all others hold numbers."""
    table = Table(title=title or None, title_justify="left")
    for column, heading in enumerate(header):
        table.add_column(heading, justify="right" if column else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # the default of 80 would fold wide tables in a pipe
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip("\n")


def format_scores(scores: dict[str, Any], title: str) -> str:
    """Tables of a split's scores per class, per level and of the tree.

    Scores have their names in `result.json` (see `hieraseg.metrics.summarize`).
    """
    levels = scores["levels"]
    class_keys = [key for key, value in levels[0].items() if isinstance(value, dict)]
    level_keys = [key for key in levels[0] if key not in ("level", *class_keys)]
    tree_keys = [key for key, value in scores.items() if value is None or isinstance(value, float)]
    classes = [
        [f"{level['level']} {name}", *(_number(level[key][name]) for key in class_keys)]
        for level in levels
        for name in level["iou"]
    ]
    means = [[key, *(_number(level[key]) for level in levels)] for key in level_keys]
    tree = [[key, _number(scores[key])] for key in tree_keys]
    return "\n".join(
        [
            format_table(["level, class", *class_keys], classes, title),
            format_table(["", *(f"level {level['level']}" for level in levels)], means),
            format_table(["", "tree"], tree),
            f"{scores['images']} images at {scores['resolution']} resolution, {scores['tta']}",
        ]
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
