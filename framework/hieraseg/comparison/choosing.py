"""Choosing columns by name, and sorting rows by them."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from hieraseg.comparison import numbers
from hieraseg.comparison.columns import Column, all_columns
from hieraseg.comparison.rows import Row
from hieraseg.errors import RecipeError, did_you_mean


def choose_columns(
    rows: Sequence[Row],
    default: Sequence[Column],
    wanted: Sequence[str] | None = None,
    dropped: Sequence[str] = (),
) -> list[Column]:
    """The columns to show. The number of seeds is one of them, unless it is dropped.

    Args:
        rows: the rows.
        default: columns to show if none are wanted.
        wanted: names of columns, in any case; `mIoU` is that of all levels.
        dropped: names of columns to leave out.

    Raises:
        RecipeError: there is no such column.
    """
    known = all_columns(rows)
    chosen = list(default)
    if wanted is not None:
        found = [one for name in wanted for one in find_columns(known, name, "--columns")]
        chosen = [*(one for one in known if one.kind == "seeds"), *found]
    left_out = [one.title for name in dropped for one in find_columns(known, name, "--drop")]
    return [one for one in {one.title: one for one in chosen}.values() if one.title not in left_out]


def find_columns(columns: Sequence[Column], name: str, option: str) -> list[Column]:
    """The column of a name, or the columns of all levels.

    Raises:
        RecipeError: there is none; the message suggests one.
    """
    name, names = name.strip(), dict[str, list[Column]]()
    for column in columns:
        for one in dict.fromkeys((column.title, column.name, column.base)):
            names.setdefault(one.lower(), []).append(column)
    found = names.get(name.lower())
    if found is None:
        titles = {one.title.lower(): one.title for one in columns}
        close = get_close_matches(name.lower(), titles, n=1)
        known = [titles[close[0]]] if close else dict.fromkeys(one.base for one in columns)
        hint = did_you_mean(titles[close[0]] if close else name, known)
        raise RecipeError(f"{option}: no column {name!r}; {hint}")
    return found


def sorted_rows(rows: Sequence[Row], name: str) -> list[Row]:
    """Rows sorted by a column, the best first: high scores, low costs and errors.

    Settings and titles are sorted by their text, and numbers in it by value. Rows without a value
    come last; equal ones stay in order.

    Args:
        rows: the rows.
        name: name of a column, or `recipe`.

    Raises:
        RecipeError: there is no such column, or one for each level.
    """
    if name.strip().lower() == "recipe":
        return sorted(rows, key=lambda row: _natural(row.title))
    found = find_columns(all_columns(rows), name, "--sort")
    if len(found) > 1:
        titles = ", ".join(repr(one.title) for one in found)
        raise RecipeError(f"--sort: {name!r} could be {titles}; name one of them")
    (column,) = found
    return sorted(rows, key=lambda row: _sort_key(column, row))


def _sort_key(column: Column, row: Row) -> tuple[Any, ...]:
    if column.values is None:
        text = column.text(row)
        number = _natural(text)
        return (text == "-", *((-int(text),) if column.kind == "seeds" else number))
    value = numbers.mean(column.values(row))
    if value is None:
        return (True, 0.0)
    return (False, value if column.best == "low" else -value)


def _natural(text: str) -> tuple[tuple[bool, float, str], ...]:
    """Sorts numbers in a string by value: `gamma=2` before `gamma=10`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text.lower())
    return tuple(
        (False, float(part), "") if index % 2 else (True, 0.0, part)
        for index, part in enumerate(parts)
    )
