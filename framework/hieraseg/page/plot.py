"""A single figure of a comparison, for a paper."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings

from hieraseg.comparison import numbers
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.rows import Row
from hieraseg.console import warn
from hieraseg.errors import RecipeError
from hieraseg.files.writing import write_file
from hieraseg.page.looks import Look, lines_of, with_looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FORMATS = ("png", "svg", "pdf")
_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^"}
_Drawn = Sequence[tuple[Row, Look]]


def write_plot(path: Path, comparison: Comparison) -> None:
    """Draw the mIoU of each level: a dot per seed, and a bar of mean ± standard deviation.

    With a baseline it shows the differences to it with their 95 % intervals instead.

    Args:
        path: the file, whose suffix says which format it has: .png, .svg or .pdf.
        comparison: what is drawn.

    Raises:
        RecipeError: the file has another suffix, or there is nothing to draw.
        WriteError: the file cannot be written.
    """
    suffix = format_of(path)
    from matplotlib import rc_context  # not above: takes a while

    baseline = comparison.baseline
    rows = [
        (row, look)
        for row, look in with_looks(comparison.rows)
        if baseline is None or comparison.differences.get(row.title)
    ]
    levels = _levels(comparison)
    if not rows or not levels:
        raise RecipeError("--plot: no row is compared to the baseline; name more runs or recipes")
    # Text stays text, which a paper can search and a reader can select.
    with rc_context({"svg.fonttype": "none", "pdf.fonttype": 42, "text.parse_math": False}):
        figure = _figure(comparison, rows, levels)
        with catch_warnings(record=True, action="always") as caught:
            write_file(path, lambda file: figure.savefig(file, format=suffix))
    # Matplotlib warns of each character, with the line of code that draws it. SVG has text instead.
    if suffix != "svg" and any("missing from font" in str(one.message) for one in caught):
        warn(f"{path}: the font lacks some characters of the names, which are drawn as boxes")


def format_of(path: Path) -> str:
    """The format of a figure, as in `png`.

    Raises:
        RecipeError: the suffix of the file is that of no format.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in _FORMATS:
        raise RecipeError(f"--plot: {path}: figures are .png, .svg or .pdf; choose one of these")
    return suffix


def _figure(comparison: Comparison, rows: _Drawn, levels: Sequence[int]) -> "Figure":
    # Without pyplot, which has a global state and may need a display.
    from matplotlib.figure import Figure

    names = ["\n".join(lines_of(look.name)) + _marks(row) for row, look in rows]
    if _seeds(comparison) is None:
        names = [
            f"{name}\n(n = {len(row.runs)})" for name, (row, _) in zip(names, rows, strict=True)
        ]
    lines = max(2, *(name.count("\n") + 1 for name in names))
    size = (2.2 + 2.6 * len(levels), 1.1 + 0.17 * lines * len(rows))
    figure = Figure(figsize=size, dpi=200, layout="constrained")
    axes = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for one, level in zip(axes, levels, strict=True):
        _draw(one, level, rows, comparison)
    figure.supxlabel(_label(comparison), fontsize="medium")
    axes[0].set_yticks(range(len(rows)), names)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _label(comparison: Comparison) -> str:
    """What the x-axes have."""
    seeds = _seeds(comparison)
    alike = f", n = {seeds}" if seeds else ""
    score = f"mIoU on {comparison.split}"
    if comparison.baseline is None:
        return f"{score} (mean ± sd{alike})"
    looks = with_looks(comparison.rows)
    row, look = next(one for one in looks if one[0].title == comparison.baseline.title)
    name = look.name if seeds else f"{look.name} (n = {len(row.runs)})"
    return f"difference in {score} to {name}\n(95 % interval{alike}; filled: better or worse)"


def _marks(row: Row) -> str:
    """The marks that the notes of the table explain, as of rows scored by another protocol."""
    return f" {''.join(row.marks)}" if row.marks else ""


def _seeds(comparison: Comparison) -> int | None:
    """The number of seeds of all rows; None if they have different ones."""
    found = {len(row.runs) for row in comparison.rows}
    return found.pop() if len(found) == 1 else None


def _levels(comparison: Comparison) -> list[int]:
    if comparison.baseline:
        found = comparison.differences.values()
        return sorted({one.level for differences in found for one in differences})
    return sorted({one["level"] for row in comparison.rows for one in row.scores[0]["levels"]})


def _draw(axes: "Axes", level: int, rows: _Drawn, comparison: Comparison) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(f"level {level}")
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    if comparison.baseline is None:
        _draw_scores(axes, level, rows)
    else:
        axes.axvline(0, color="#7a7a7a", linewidth=1)
        _draw_differences(axes, level, rows, comparison)


def _draw_scores(axes: "Axes", level: int, rows: _Drawn) -> None:
    for y, (row, look) in enumerate(rows):
        found = [one for scores in row.scores for one in scores["levels"]]
        values = [one["miou"] for one in found if one["level"] == level and one["miou"] is not None]
        marker = _MARKERS[look.symbol]
        axes.plot(values, [y] * len(values), marker, color=look.color, alpha=0.6, markersize=5)
        center = numbers.mean(values)
        if center is not None:
            spread = numbers.spread(values)
            axes.errorbar([center], [y], xerr=spread, fmt="|", color=look.color, markersize=14)


def _draw_differences(axes: "Axes", level: int, rows: _Drawn, comparison: Comparison) -> None:
    for y, (row, look) in enumerate(rows):
        for one in comparison.differences.get(row.title, ()):
            if one.level == level:
                low, high = one.interval
                ends = [[one.difference - low], [high - one.difference]]
                marker = _MARKERS[look.symbol]
                (line, *_) = axes.errorbar(
                    [one.difference], [y], xerr=ends, fmt=marker, color=look.color, capsize=3
                )
                if one.verdict not in ("better", "worse"):
                    line.set_markerfacecolor("white")
