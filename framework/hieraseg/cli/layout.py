"""Columns and tables of text that fit the terminal; in a file or a pipe they have any width."""

import re
import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from hieraseg.cli.streams import terminal_width

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MIN_WIDTH = 20


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Lines of left-aligned columns. On a terminal, the last column is wrapped between words."""
    rows = [[visible(cell) for cell in row] for row in rows]
    *widths, _ = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    indent, lines = sum(widths) + 2 * len(widths), []
    terminal = terminal_width()
    for *cells, last in rows:
        start = "".join(pad(cell, width) + "  " for cell, width in zip(cells, widths, strict=True))
        wrapped = [last] if terminal is None else _wrap(last, max(terminal - indent, _MIN_WIDTH))
        lines.append((start + wrapped[0]).rstrip())
        lines += [" " * indent + line for line in wrapped[1:]]
    return "\n".join(lines)


def format_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str = "",
    optional: Sequence[str] = (),
    names_first: bool = False,
) -> str:
    """A table whose first column holds names, and all others numbers. No cell is ever cut.

    A table that is too wide for the terminal first loses its optional columns; then its names
    move to lines of their own; then it loses further columns. The last line lists those left out.
    Rows without a name belong to the one above.

    Args:
        header: heading of each column, without duplicates.
        rows: cells of each row.
        title: first line.
        optional: headings of the columns to leave out, the least important first.
        names_first: whether names move to lines of their own before any column is lost.
    """
    rows = [[visible(cell) for cell in row] for row in rows]
    width = terminal_width()
    layouts = list(_layouts(header, optional))
    if names_first:
        layouts = [one for one in layouts if one == (False, []) or one[0]]
    for stacked, left_out in layouts:
        kept = [index for index, heading in enumerate(header) if heading not in left_out]
        table = [[row[index] for index in kept] for row in (header, *rows)]
        lines = _lines(table, stacked, wrap=width is not None)
        names = {row[0] for row in table} if stacked else set()
        if width is None or all(cell_len(line) <= width for line in lines if line not in names):
            break
    if width is not None and left_out:
        lines += _wrap(f"left out, for a wider terminal: {', '.join(left_out)}", width)
    return "\n".join([visible(title), *lines] if title else lines)


def _layouts(
    header: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[bool, Sequence[str]]]:
    """Ways to print a table, the best first: whether names have own lines, columns left out."""
    optional = [heading for heading in optional if heading in header]
    others = [heading for heading in header[1:] if heading not in optional]
    for count in range(len(optional) + 1):
        yield False, optional[:count]
    leaving = [*optional, *others[:-1]]
    for count in range(len(leaving) + 1):
        yield True, leaving[:count]


def _lines(table: Sequence[Sequence[str]], stacked: bool, wrap: bool) -> list[str]:
    """Lines of a table: its headings, wrapped between words or not, a rule, and its rows.

    If `stacked`, the first column is printed in lines of its own.
    """
    names = [row[0] for row in table]
    header, *rows = [["", *row[1:]] for row in table] if stacked else table
    headings, widths = [], []
    for heading, *cells in zip(header, *rows, strict=True):
        width = max(map(cell_len, [*cells, *(heading.split() if wrap else [heading]), ""]))
        widths.append(width)
        headings.append(_wrap(heading, width))
    height = max(map(len, headings))
    headings = [[""] * (height - len(heading)) + heading for heading in headings]
    lines = [names[0]] * (stacked and bool(names[0]))
    lines += [_row(cells, widths) for cells in zip(*headings, strict=True)]
    lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
    for name, row in zip(names[1:], rows, strict=True):
        lines += [name] * (stacked and bool(name)) + [_row(row, widths)]
    return lines


def table_width(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Columns of the terminal that a table takes, with its headings wrapped between words."""
    return max(map(cell_len, _lines([header, *rows], stacked=False, wrap=True)))


def wrapped(text: str, indent: str = "") -> str:
    """The text, wrapped between words on a terminal, and indented from the second line on."""
    width = terminal_width()
    if width is None:
        return visible(text)
    first, *others = _wrap(visible(text), width)
    rest = _wrap(" ".join(others), width - len(indent)) if others else []
    return "\n".join([first, *(indent + line for line in rest)])


def shortened(strings: Sequence[str], width: int) -> list[str]:
    """Strings with their middle replaced by an ellipsis where they are too long.

    Strings that would no longer differ keep more of themselves.

    Args:
        strings: the strings.
        width: columns of the terminal that each may take.
    """
    longest = max(map(cell_len, strings), default=0)
    for limit in range(max(width, 8), longest):
        for start in (limit // 3, 2 * limit // 3):  # what comes last differs more often
            cut = [_cut(one, limit, start) for one in strings]
            if len(set(cut)) == len(set(strings)):
                return cut
    return list(strings)


def _cut(text: str, width: int, start: int) -> str:
    """The ends of a string that is too long; `start` is the number of characters of the first."""
    return text if cell_len(text) <= width else f"{text[:start]}…{text[start + 1 - width :]}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line: the first cell left-aligned, all others right-aligned."""
    first, *others = cells
    padded = [pad(first, widths[0])]
    padded += [
        " " * (width - cell_len(cell)) + cell
        for cell, width in zip(others, widths[1:], strict=True)
    ]
    return "  ".join(padded).rstrip()


def pad(text: str, width: int) -> str:
    """The text followed by spaces; unlike `str.ljust` if characters take two columns."""
    return text + " " * (width - cell_len(text))


def _wrap(text: str, width: int) -> list[str]:
    """Lines of a string, broken between words only; at least one."""
    wrapper = textwrap.TextWrapper(max(width, 1), break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text) or [""]


def visible(text: str) -> str:
    """The text with its control characters escaped, which a terminal would obey."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
