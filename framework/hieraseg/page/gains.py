"""Section: the IoU of each class, or how much higher it is than that of the baseline."""

from collections.abc import Iterator, Sequence

import numpy as np
from plotly import graph_objects as go

from hieraseg.comparison import numbers
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference
from hieraseg.comparison.rows import Row
from hieraseg.page.charts import chart, label, tick
from hieraseg.page.looks import Look, legend, looks
from hieraseg.page.panels import Panel, switched
from hieraseg.page.sections import Section, render

_LINE = 24
"""Height of a class in pixels."""


def section(comparison: Comparison) -> Section:
    """Differences per class if there are any, else the IoU of each class."""
    differences = comparison.baseline is not None and bool(comparison.class_differences)
    panels = list(_differences(comparison) if differences else _ious(comparison))
    levels = max((int(panel.choice["level"]) for panel in panels), default=0)
    html = render(
        "gains.html",
        baseline=comparison.baseline.title if comparison.baseline and differences else None,
        legend=legend(comparison.rows),
        panels=switched("gains", panels, {"level": str(levels)}) if panels else "",
    )
    return Section("classes", "Gain of each class" if differences else "IoU of each class", html)


def _differences(comparison: Comparison) -> Iterator[Panel]:
    for row, look in zip(comparison.rows, looks(comparison.rows), strict=True):
        found = comparison.class_differences.get(row.title, ())
        for level in sorted({one.level for one in found}):
            ordered = sorted(
                (one for one in found if one.level == level and np.isfinite(one.difference)),
                key=lambda one: one.difference,
            )
            text = f"Differences of {row.title} to the baseline per class, level {level}"
            choice = {"level": str(level), "recipe": look.name}
            yield Panel(choice, chart(_gains(ordered, look), text))


def _gains(differences: Sequence[Difference], look: Look) -> go.Figure:
    """Differences with their intervals. A marker is filled if the verdict is better or worse."""
    value = np.array([one.difference for one in differences])
    low, high = np.array([one.interval for one in differences]).reshape(-1, 2).T
    certain = [one.verdict in ("better", "worse") for one in differences]
    verdicts = [[one.verdict or "no verdict", *one.interval, one.p] for one in differences]
    figure = go.Figure(
        go.Scatter(
            x=value,
            y=[tick(one.class_name or "") for one in differences],
            mode="markers",
            marker={
                "color": look.color,
                "size": 9,
                "symbol": ["circle" if one else "circle-open" for one in certain],
            },
            error_x={"array": high - value, "arrayminus": value - low, "color": look.color},
            customdata=verdicts,
            hovertemplate="%{y}: %{x:+.3f}, %{customdata[0]}<br>95 % interval "
            "%{customdata[1]:+.3f} to %{customdata[2]:+.3f}, p = %{customdata[3]:.3f}"
            "<extra></extra>",
        )
    )
    figure.update_layout(height=110 + _LINE * len(differences))
    figure.update_xaxes(title="difference in IoU", tickformat="+.2f", zeroline=True)
    figure.update_yaxes(type="category")
    return figure


def _ious(comparison: Comparison) -> Iterator[Panel]:
    """A chart per level: the IoU of each class, of all rows."""
    rows = list(zip(comparison.rows, looks(comparison.rows), strict=True))
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
        figure.update_xaxes(title="IoU, mean over seeds", range=[0, 1])
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
