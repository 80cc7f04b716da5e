"""Comparison tables as plain cells, Markdown, CSV, LaTeX and JSON."""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hieraseg.comparison import numbers
from hieraseg.comparison.columns import Column
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference
from hieraseg.comparison.protocol import protocol_differences, shared_protocol
from hieraseg.comparison.rows import Row

Cells = list[list[str]]

_LATEX: dict[str, str | int | None] = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "§": r"$^\S$",
}


def title_of(row: Row) -> str:
    """Title of a row and its marks."""
    return " ".join([row.title, *(["".join(row.marks)] if row.marks else [])])


def as_table(rows: Sequence[Row], columns: Sequence[Column]) -> Cells:
    """A header and one line of cells per row: means over seeds ± standard deviations."""
    header = ["recipe", *(column.title for column in columns)]
    return [header, *([title_of(row), *(column.text(row) for column in columns)] for row in rows)]


def as_difference_table(comparison: Comparison, per_class: bool = False) -> Cells:
    """A header and one line of cells per row and level, or class, that is compared.

    Only the first line of a row has its title.

    Args:
        comparison: a comparison to a baseline.
        per_class: whether to show the differences of classes, rather than those of levels.
    """
    of_rows = comparison.class_differences if per_class else comparison.differences
    what = "class" if per_class else "level"
    header = ["recipe", what, "difference", "95 % interval", *_STATISTICS]
    lines = []
    for row in comparison.rows:
        title = title_of(row)
        for one in of_rows.get(row.title, ()):
            lines.append([title, *_difference_cells(one)])
            title = ""
    return [header, *lines]


_STATISTICS = ("P better", "p (Holm)", "verdict", "could show")
OPTIONAL_STATISTICS = ("could show", "P better")
"""Columns of differences that narrow terminals have no room for, the least important first."""


def _difference_cells(one: Difference) -> list[str]:
    level = f"L{one.level}"
    return [
        level if one.class_name is None else f"{level} {one.class_name}",
        numbers.difference(one.difference),
        numbers.interval(one.interval),
        numbers.probability(one.probability_better),
        numbers.p_value(one.p),
        one.verdict or "-",
        "-" if math.isnan(one.detectable) else f"{one.detectable:.3f}",
    ]


def heading(comparison: Comparison) -> str:
    """What the table of rows shows, and the protocol that all rows share."""
    protocol = shared_protocol(comparison.rows)
    return "; ".join(
        [
            f"split {comparison.split}, mean ± standard deviation over n seeds",
            "scores are fractions",
            *([protocol] if protocol else []),
        ]
    )


def difference_heading(comparison: Comparison, per_class: bool = False) -> str:
    """What the table of differences shows, of a comparison to a baseline."""
    assert comparison.baseline is not None
    what = "IoU of classes" if per_class else "mIoU"
    return f"difference of {what} to {comparison.baseline.title}"


def as_json(comparison: Comparison, columns: Sequence[Column]) -> dict[str, Any]:
    """What is known of each row, one value per run, and whether the rows are comparable."""
    baseline = comparison.baseline
    return {
        "split": comparison.split,
        "baseline": baseline.title if baseline else None,
        "comparable": not protocol_differences(comparison.rows),
        "notes": list(comparison.notes),
        "rows": [_row_as_json(row, comparison, columns) for row in comparison.rows],
    }


def _row_as_json(row: Row, comparison: Comparison, columns: Sequence[Column]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "recipe": row.title,
        "seeds": row.seeds,
        "settings": dict(row.settings),
        "marks": list(row.marks),
        "runs": [str(run.path) for run in row.runs],
        **{column.name: column.values(row) for column in columns if column.values},
    }
    if comparison.baseline and row.title == comparison.baseline.title:
        found["baseline"] = True
    elif comparison.baseline:
        found["levels"] = _levels_as_json(row, comparison)
    return found


def _levels_as_json(row: Row, comparison: Comparison) -> list[dict[str, Any]]:
    """The differences of a row on each level, with those of its classes if they are known."""
    of_classes = comparison.class_differences.get(row.title, ())
    levels = []
    for one in comparison.differences.get(row.title, ()):
        level = {"level": one.level, **_difference_as_json(one)}
        classes = [other for other in of_classes if other.level == one.level]
        if classes:
            level["classes"] = {str(c.class_name): _difference_as_json(c) for c in classes}
        levels.append(level)
    return levels


def _difference_as_json(one: Difference) -> dict[str, Any]:
    return {
        "difference": _finite(one.difference),
        "interval": [_finite(end) for end in one.interval],
        "probability_better": _finite(one.probability_better),
        "p": _finite(one.p),
        "detectable": _finite(one.detectable),
        "verdict": one.verdict,
    }


def as_markdown(comparison: Comparison, columns: Sequence[Column], per_class: bool = False) -> str:
    """Markdown tables below their headings, followed by the notes."""
    blocks = [
        f"{escape_markdown(heading)}\n\n{_markdown_table(cells)}"
        for heading, cells in _all_tables(comparison, columns, per_class)
    ]
    notes = "\n".join(f"- {escape_markdown(note)}" for note in comparison.notes)
    return "\n\n".join([*blocks, *([notes] if notes else [])])


def _markdown_table(cells: Cells) -> str:
    header, *lines = [[escape_markdown(cell) for cell in line] for line in cells]
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ruler, *lines))


def as_latex(comparison: Comparison, columns: Sequence[Column], per_class: bool = False) -> str:
    """`tabular` environments for the booktabs package below their headings, and the notes.

    Nothing is bold: the best of several means is best by chance, too, and verdicts are on
    differences to one baseline.
    """
    blocks = [
        f"{_latex_note(heading)}\n\n{_latex_table(cells)}"
        for heading, cells in _all_tables(comparison, columns, per_class)
    ]
    notes = "\n".join(map(_latex_note, comparison.notes))
    return "\n\n".join([*blocks, *([notes] if notes else [])])


def _latex_note(text: str) -> str:
    return rf"\par{{\footnotesize {escape_latex(text)}}}"


def _latex_table(cells: Cells) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    header, *lines = cells
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            *map(line, lines),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _all_tables(
    comparison: Comparison, columns: Sequence[Column], per_class: bool
) -> Iterator[tuple[str, Cells]]:
    """The table of rows, and those of differences, with their headings."""
    yield heading(comparison), as_table(comparison.rows, columns)
    if comparison.baseline:
        for classes in (False, True) if per_class else (False,):
            shown = difference_heading(comparison, classes)
            yield shown, as_difference_table(comparison, classes)


def as_csv(comparison: Comparison, columns: Sequence[Column]) -> str:
    """Comma-separated values: one line per row, with numbers that programs read.

    Scores and costs have a column for the mean and one for the standard deviation; differences have
    one for each of their values, as in `difference L3`, `p L3`, `difference L3 head`.
    """
    lines = [_csv_row(row, comparison, columns) for row in comparison.rows]
    header = list(dict.fromkeys(key for line in lines for key in line))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue().rstrip("\n")


def _csv_row(row: Row, comparison: Comparison, columns: Sequence[Column]) -> dict[str, str]:
    found = {"split": comparison.split, "recipe": row.title, "marks": "".join(row.marks)}
    if comparison.baseline:
        found["baseline"] = comparison.baseline.title
    found["seeds"] = ",".join(map(str, row.seeds))
    for column in columns:
        if column.values is None:
            text = column.text(row)
            found[column.title] = "" if text == "-" else text
        else:
            found[column.title] = _number(numbers.mean(column.values(row)))
            found[f"{column.title} sd"] = _number(numbers.spread(column.values(row)))
    levels = comparison.differences.get(row.title, ())
    classes = comparison.class_differences.get(row.title, ())
    return found | {key: text for one in (*levels, *classes) for key, text in _csv_cells(one)}


def _csv_cells(one: Difference) -> Iterator[tuple[str, str]]:
    where = f"L{one.level}" if one.class_name is None else f"L{one.level} {one.class_name}"
    values = _difference_as_json(one)
    low, high = values.pop("interval")
    for key, value in {**values, "low": low, "high": high}.items():
        yield f"{key.replace('_', ' ')} {where}", _number(value)


def _number(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.6g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def escape_latex(text: str) -> str:
    """The text as LaTeX prints it, in one line."""
    text = _one_line(text).translate(str.maketrans(_LATEX))
    # A hyphen is shorter than a minus, and two hyphens are a dash.
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", text).replace("--", "-{}-")


def escape_markdown(text: str) -> str:
    """The text as Markdown and the HTML in it print it, in one line."""
    return re.sub(r"[\\`*_{}\[\]<>#|~!&$]", r"\\\g<0>", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
