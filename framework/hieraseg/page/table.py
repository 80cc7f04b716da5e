"""Section: the table of scores, settings and costs, which readers sort."""

from dataclasses import dataclass

from hieraseg.comparison import numbers
from hieraseg.comparison.columns import Column, main_columns
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference
from hieraseg.comparison.rows import Row
from hieraseg.page.looks import looks
from hieraseg.page.sections import Section, render


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


def section(comparison: Comparison) -> Section:
    """The table, whose numbers are those of `hieraseg compare`."""
    rows, baseline = comparison.rows, comparison.baseline
    columns = main_columns(rows)
    levels = sorted({one.level for found in comparison.differences.values() for one in found})
    compared = {level: _compared(comparison, level) for level in levels}
    lines = [
        {
            "row": row,
            "look": look,
            "is_baseline": baseline is not None and row.title == baseline.title,
            "cells": [_cell(column, row) for column in columns],
            "differences": [compared[level].get(row.title) for level in levels],
        }
        for row, look in zip(rows, looks(rows), strict=True)
    ]
    html = render(
        "table.html",
        columns=columns,
        levels=levels,
        lines=lines,
        interval=numbers.interval,
        p_value=numbers.p_value,
    )
    return Section("table", "Table", html)


def _cell(column: Column, row: Row) -> Cell:
    text = column.text(row)
    if column.values is None:
        return Cell(text, "" if text == "-" else text)
    value = numbers.mean(column.values(row))
    return Cell(text, "" if value is None else repr(value))


def _compared(comparison: Comparison, level: int) -> dict[str, Cell]:
    """The cells of a level's differences by title, with bars of one scale."""
    found = {
        title: one
        for title, differences in comparison.differences.items()
        for one in differences
        if one.level == level
    }
    largest = max((abs(end) for one in found.values() for end in one.interval), default=0) or 1
    return {title: _difference(one, largest) for title, one in found.items()}


def _difference(difference: Difference, largest: float) -> Cell:
    ends = (*difference.interval, difference.difference)
    low, high, middle = (round(50 + 50 * end / largest, 1) for end in ends)
    text = numbers.difference(difference.difference)
    return Cell(text, repr(difference.difference), difference, (low, high, middle))
