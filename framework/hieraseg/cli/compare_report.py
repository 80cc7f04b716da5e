"""The report of `hieraseg compare` as text for a terminal: tables and notes."""

from collections.abc import Sequence
from dataclasses import replace

from hieraseg.cli import tables
from hieraseg.cli.layout import align_columns, format_table, shortened, table_width, wrapped
from hieraseg.cli.streams import terminal_width
from hieraseg.comparison.columns import OPTIONAL, Column
from hieraseg.comparison.comparison import Comparison

_TITLE_SHARE = 3  # a title takes at most this part of the terminal's width, if possible
_LONGEST_SETTING = 24


def as_text(comparison: Comparison, columns: Sequence[Column], per_class: bool = False) -> str:
    """Tables of rows and of differences, and the notes, none wider than the terminal if possible.

    Args:
        comparison: the comparison.
        columns: columns of the rows.
        per_class: whether to show differences of classes, too.
    """
    title = tables.heading(comparison)
    if folder := _shared_folder(comparison):
        title = f"{folder[:-1]}: {title}"
    comparison = _with_short_titles(comparison)
    first, *blocks = _rows(comparison, columns)
    blocks.insert(0, f"{wrapped(title)}\n{first}")
    if comparison.baseline:
        blocks.append(_differences(comparison))
        if per_class:
            blocks.append(_differences(comparison, per_class))
    if comparison.notes:
        blocks.append("\n".join(wrapped(note, "  ") for note in comparison.notes))
    return "\n\n".join(blocks)


def _shared_folder(comparison: Comparison) -> str:
    """The folder that all titles on a terminal begin with, as in `study/`; empty if there is none.

    It is said once, in the first line.
    """
    folders = {row.title.rpartition("/")[0] for row in comparison.rows}
    is_shared = terminal_width() is not None and len(comparison.rows) > 1 and len(folders) == 1
    return f"{folders.pop()}/" if is_shared and "" not in folders else ""


def _with_short_titles(comparison: Comparison) -> Comparison:
    """Rows whose titles leave room for numbers on a terminal, and still differ."""
    width = terminal_width()
    if width is None:
        return comparison
    titles = [row.title for row in comparison.rows]
    folder = _shared_folder(comparison)
    names = shortened([title.removeprefix(folder) for title in titles], width // _TITLE_SHARE)
    short = dict(zip(titles, names, strict=True))
    baseline = comparison.baseline
    return replace(
        comparison,
        rows=[replace(row, title=short[row.title]) for row in comparison.rows],
        baseline=baseline and replace(baseline, title=short[baseline.title]),
        differences={short[title]: of for title, of in comparison.differences.items()},
        class_differences={short[title]: of for title, of in comparison.class_differences.items()},
    )


def _rows(comparison: Comparison, columns: Sequence[Column]) -> list[str]:
    """The table of rows; settings have one of their own if there is no room for them."""
    width = terminal_width()
    header, *lines = _cells(comparison, columns)
    smallest = _cells(comparison, [one for one in columns if one.title not in OPTIONAL])
    if width is None or table_width(smallest[0], smallest[1:]) <= width:
        return [format_table(header, lines, optional=OPTIONAL)]
    header, *lines = _cells(comparison, [one for one in columns if one.kind != "setting"])
    blocks = [format_table(header, lines, optional=OPTIONAL)]
    settings = [one for one in columns if one.kind == "setting"]
    if settings:
        blocks.append(f"settings that differ\n{_settings(comparison, settings)}")
    return blocks


def _settings(comparison: Comparison, columns: Sequence[Column]) -> str:
    """A line per row, as in `study/base  loss=tree_min, loss.gamma=2.0`."""
    (_, *keys), *lines = _cells(comparison, columns)
    return align_columns(
        [
            [title, ", ".join(f"{k}={v}" for k, v in zip(keys, values, strict=True) if v != "-")]
            for title, *values in lines
        ]
    )


def _cells(comparison: Comparison, columns: Sequence[Column]) -> tables.Cells:
    """The cells of a table, whose settings are not longer than a terminal has room for."""
    header, *lines = tables.as_table(comparison.rows, columns)
    longest = [10_000, *(_LONGEST_SETTING if c.kind == "setting" else 10_000 for c in columns)]
    by_column = [
        shortened(cells, limit)
        for cells, limit in zip(zip(*lines, strict=True), longest, strict=True)
    ]
    return [header, *map(list, zip(*by_column, strict=True))]


def _differences(comparison: Comparison, per_class: bool = False) -> str:
    (first, _, *others), *lines = tables.as_difference_table(comparison, per_class)
    header = [first, "", *others]  # cells such as `L3` need no heading
    title = tables.difference_heading(comparison, per_class)
    if not lines:
        return f"{title}: none, since no other row was scored like it"
    return format_table(header, lines, title, tables.OPTIONAL_STATISTICS, names_first=True)
