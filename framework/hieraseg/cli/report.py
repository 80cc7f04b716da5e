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
    """The scores of a split (see `metrics.summarize`)."""
    rows = []
    for level in scores["levels"]:
        classes = ", ".join(f"{name} {_number(iou)}" for name, iou in level["iou"].items())
        means = (level["miou"], level["miou_with_background"], level["miou_per_image"])
        rows.append([f"level {level['level']}", *map(_number, means), classes])
    header = ("", "mIoU", "with background", "per image", "IoU of each class")
    print_table(header, rows, title)
    print(
        f"coherence {_number(scores['coherence'])}, "
        f"mean tree distance of mistakes {_number(scores['mistake_distance'])} edges, "
        f"{scores['images']} images at {scores['resolution']} resolution"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
