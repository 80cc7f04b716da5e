"""Section: the IoU of each class, or how much higher it is than that of the baseline."""

from collections.abc import Iterator, Sequence

import numpy as np
from plotly import graph_objects as go

from hieraseg.comparison import numbers
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference
from hieraseg.comparison.rows import Row
from hieraseg.page.charts import around_zero, chart, label, tick
from hieraseg.page.looks import Look, legend, with_looks
from hieraseg.page.panels import Panel, switched
from hieraseg.page.sections import Section, render

_LINE = 24
"""Height of a class in pixels."""

_WHOLE = (-0.015, 1.015)
"""From 0 to 1, with room for the markers at both ends."""


def section(comparison: Comparison) -> Section:
    """Differences per class if there are any, else the IoU of each class."""
    baseline = comparison.baseline if comparison.class_differences else None
    panels = list(_differences(comparison) if baseline else _ious(comparison))
    levels = max((int(panel.choice["level"]) for panel in panels), default=0)
    html = render(
        "gains.html",
        baseline=baseline is not None,
        legend=legend(comparison.rows),
        panels=switched("gains", panels, {"level": str(levels)}) if panels else "",
    )
    return Section("classes", "Gain of each class" if baseline else "IoU of each class", html)


def _differences(comparison: Comparison) -> Iterator[Panel]:
    """A chart per level and row: the differences of its classes, sorted."""
    for row, look in with_looks(comparison.rows):
        found = comparison.class_differences.get(row.title, ())
        for level in sorted({one.level for one in found}):
            on_level = [one for one in found if one.level == level]
            ordered = sorted(on_level, key=lambda one: one.difference)
            text = f"Differences of {look.name} to the baseline per class, level {level}"
            choice = {"level": str(level), "recipe": look.name}
            yield Panel(choice, chart(_gains(ordered, look), text))


def _gains(differences: Sequence[Difference], look: Look) -> go.Figure:
    """Differences with their intervals. A marker is filled if the verdict is better or worse."""
    low, high = zip(*(one.interval for one in differences), strict=True)
    value = [one.difference for one in differences]
    symbols = {"better": "circle", "worse": "circle"}
    figure = go.Figure(
        go.Scatter(
            x=value,
            y=[tick(one.class_name or "") for one in differences],
            mode="markers",
            marker={
                "color": look.color,
                "size": 9,
                "symbol": [symbols.get(one.verdict or "", "circle-open") for one in differences],
            },
            error_x={
                "array": np.subtract(high, value),
                "arrayminus": np.subtract(value, low),
                "color": look.color,
            },
            hovertext=[_hover(one) for one in differences],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    figure.update_layout(height=110 + _LINE * len(differences))
    limits = around_zero(one.interval for one in differences)
    figure.update_xaxes(title="difference in IoU", tickformat="+.3~f", range=limits, zeroline=True)
    figure.update_yaxes(type="category")
    return figure


def _hover(one: Difference) -> str:
    return (
        f"{label(one.class_name or '')}: {numbers.difference(one.difference)} "
        f"{numbers.interval(one.interval)}<br>{one.verdict or 'no verdict'}, "
        f"p {numbers.p_value(one.p)}"
    )


def _ious(comparison: Comparison) -> Iterator[Panel]:
    """A chart per level: the IoU of each class, of all rows."""
    rows = with_looks(comparison.rows)
    for level in sorted({one["level"] for row, _ in rows for one in row.scores[0]["levels"]}):
        figure = go.Figure(layout={"showlegend": False})
        classes: dict[str, None] = {}
        for index, (row, look) in enumerate(rows):
            iou = _mean_iou(row, level)
            classes |= dict.fromkeys(iou)
            figure.add_trace(
                go.Scatter(
                    x=list(iou.values()),
                    y=[tick(name) for name in iou],
                    mode="markers",
                    marker={"color": look.color, "symbol": look.symbol, "size": 9},
                    legendgroup=str(index),
                    hovertemplate=f"{label(look.name)}<br>%{{y}}: %{{x:.3f}}<extra></extra>",
                )
            )
        figure.update_layout(height=110 + _LINE * len(classes))
        figure.update_xaxes(title="IoU, mean over seeds", range=_WHOLE)
        figure.update_yaxes(type="category", autorange="reversed")
        text = f"IoU of each class and recipe, level {level}"
        yield Panel({"level": str(level)}, chart(figure, text))


def _mean_iou(row: Row, level: int) -> dict[str, float | None]:
    """The IoU of each class of a level, averaged over the seeds where it is defined."""
    runs = [
        one["iou"] for scores in row.scores for one in scores["levels"] if one["level"] == level
    ]
    names = dict.fromkeys(name for iou in runs for name in iou)
    return {name: numbers.mean([iou.get(name) for iou in runs]) for name in names}
