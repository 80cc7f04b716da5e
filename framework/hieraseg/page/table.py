"""Section: the table of scores, settings and costs, which readers sort."""

from dataclasses import dataclass

from hieraseg.comparison import numbers
from hieraseg.comparison.columns import Column, main_columns
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference
from hieraseg.comparison.rows import Row
from hieraseg.page.looks import looks
from hieraseg.page.sections import Section, render

_ORDER = ("seeds", "score", "setting", "cost")
"""Kinds of columns. Scores are seen first where the page is too narrow for all of them."""


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: what it shows.
        value: what its column is sorted by; empty if it has no value.
        difference: a difference to the baseline, which the cell shows.
        bar: the ends of the interval and the difference, in % of the width of the cell, whose
            middle is 0.
    """

    text: str
    value: str
    difference: Difference | None = None
    bar: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Heading:
    """A heading.

    Attributes:
        title: its text.
        is_text: whether the cells below hold text, and no numbers.
    """

    title: str
    is_text: bool


def section(comparison: Comparison) -> Section:
    """The table, whose numbers are those of `hieraseg compare`."""
    headings, columns = [], []
    for column in sorted(main_columns(comparison.rows), key=lambda one: _ORDER.index(one.kind)):
        headings.append(Heading(column.title, column.kind == "setting"))
        columns.append([_cell(column, row) for row in comparison.rows])
        for level in _levels(comparison):
            if column.title == f"mIoU L{level}":
                headings.append(Heading(f"difference L{level}", False))
                columns.append(_compared(comparison, level))
    html = render(
        "table.html",
        headings=headings,
        lines=zip(comparison.rows, looks(comparison.rows), zip(*columns, strict=True), strict=True),
        baseline=comparison.baseline.title if comparison.baseline else None,
        interval=numbers.interval,
        p_value=numbers.p_value,
    )
    return Section("table", "Table", html)


def _levels(comparison: Comparison) -> set[int]:
    return {one.level for found in comparison.differences.values() for one in found}


def _cell(column: Column, row: Row) -> Cell:
    text = column.text(row)
    if column.values is None:
        return Cell(text, "" if text == "-" else text)
    value = numbers.mean(column.values(row))
    return Cell(text, "" if value is None else repr(value))


def _compared(comparison: Comparison, level: int) -> list[Cell]:
    """A level's differences of each row, with bars of one scale."""
    found = {
        title: one
        for title, differences in comparison.differences.items()
        for one in differences
        if one.level == level
    }
    largest = max(abs(end) for one in found.values() for end in one.interval) or 1.0
    return [
        _difference(found[row.title], largest) if row.title in found else Cell("-", "")
        for row in comparison.rows
    ]


def _difference(difference: Difference, largest: float) -> Cell:
    ends = (*difference.interval, difference.difference)
    low, high, middle = (round(50 + 50 * end / largest, 1) for end in ends)
    text = numbers.difference(difference.difference)
    return Cell(text, repr(difference.difference), difference, (low, high, middle))
