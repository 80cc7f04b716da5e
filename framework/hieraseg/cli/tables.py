"""Comparison tables as plain cells, Markdown, CSV, LaTeX and JSON."""

import csv
import io
import re
import statistics
from collections.abc import Sequence
from typing import Any

from hieraseg.compare import Row, differences

_LEVEL_COLUMNS = {
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
_TREE_COLUMNS = {
    "coherence": "coherence",
    "mistake distance": "mistake_distance",
    "hierarchical precision": "hierarchical_precision",
    "hierarchical recall": "hierarchical_recall",
    "hierarchical F1": "hierarchical_f1",
}
_MAIN_COLUMNS = ("mIoU", "coherence", "mistake distance")
"""Columns of the tables that people read. CSV and JSON have all columns."""
OPTIONAL_COLUMNS = ("minutes", "parameters (M)", "mistake distance", "coherence")
"""Columns that narrow terminals have no room for, the least important first."""
_LATEX: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "[": "{[}",  # after a line break, `[` would start an argument of `\\\\`
    "]": "{]}",
    **{character: rf"\{character}" for character in "&%$#_{}"},
}


def columns(row: Row, all_scores: bool = False) -> dict[str, list[float | None]]:
    """The columns of a row, with one value per run; None where a score is undefined.

    Args:
        row: runs of one recipe.
        all_scores: include all scores instead of the main ones.
    """
    found: dict[str, list[float | None]] = {
        f"{title} L{level['level']}": [scores["levels"][i].get(key) for scores in row.scores]
        for title, key in _LEVEL_COLUMNS.items()
        if all_scores or title in _MAIN_COLUMNS
        for i, level in enumerate(row.scores[0]["levels"])
    }
    for title, key in _TREE_COLUMNS.items():
        if all_scores or title in _MAIN_COLUMNS:
            found[title] = [scores.get(key) for scores in row.scores]
    found["parameters (M)"] = [_divide(cost.get("parameters"), 1e6) for cost in row.costs]
    found["minutes"] = [_divide(cost.get("seconds"), 60) for cost in row.costs]
    return found


def as_table(rows: Sequence[Row], all_scores: bool = False) -> list[list[str]]:
    """A header and one line of cells per row: the mean over seeds ± standard deviation."""
    values = [columns(row, all_scores) for row in rows]
    titles = list(dict.fromkeys(title for one in values for title in one))
    lines = [["recipe", "seeds", *titles]]
    for row, one in zip(rows, values, strict=True):
        cells = [_cell(one.get(title, [])) for title in titles]
        lines.append([row.title, ",".join(map(str, row.seeds)), *cells])
    return lines


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """All scores of every run, and whether the rows are comparable."""
    return {
        "comparable": not differences(rows),
        "rows": [
            {"recipe": row.title, "seeds": row.seeds, **columns(row, all_scores=True)}
            for row in rows
        ],
    }


def as_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    header, *lines = [[escape_markdown(cell) for cell in line] for line in as_table(rows)]
    ruler = ["---", "---", *["---:"] * (len(header) - 2)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ruler, *lines))


def as_csv(rows: Sequence[Row]) -> str:
    """Comma-separated values with all scores."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(as_table(rows, all_scores=True))
    return buffer.getvalue().rstrip("\n")


def as_latex(rows: Sequence[Row]) -> str:
    """A `tabular` environment for the booktabs package."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    header, *lines = as_table(rows)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{ll{'r' * (len(header) - 2)}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            *map(line, lines),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def escape_latex(text: str) -> str:
    """The text as LaTeX prints it, in one line."""
    return _one_line(text).translate(str.maketrans(_LATEX))


def escape_markdown(text: str) -> str:
    """The text as Markdown and the HTML in it print it, in one line."""
    return re.sub(r"[\\`*_{}\[\]<>#|~!&$]", r"\\\g<0>", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _divide(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _cell(measured: Sequence[float | None]) -> str:
    values = [value for value in measured if value is not None]
    if not values:
        return "-"
    mean = statistics.mean(values)
    digits = 3 if abs(mean) < 10 else 1
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"
