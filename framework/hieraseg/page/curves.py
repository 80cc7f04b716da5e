"""Section: validation scores and training loss over the epochs."""

from collections.abc import Callable, Sequence

import numpy as np
from plotly import graph_objects as go

from hieraseg.comparison.comparison import Comparison
from hieraseg.page.charts import chart, label
from hieraseg.page.looks import Look, legend, looks
from hieraseg.page.panels import Panel, switched
from hieraseg.page.sections import Section, render
from hieraseg.runs.epochs import Epoch, read_epochs
from hieraseg.runs.folder import RunFolder

_Value = Callable[[Epoch], float | None]
_EACH = 20
"""Epochs of which each has a marker and a number."""


def section(comparison: Comparison) -> Section:
    """Curves of each row: the mean over its seeds, and a thin line for each of them."""
    rows = comparison.rows
    runs = [[read_epochs(RunFolder(run.path)) for run in row.runs] for row in rows]
    unread = [look.name for look, found in zip(looks(rows), runs, strict=True) if not all(found)]
    levels = max((len(one.levels) for row in runs for run in row for one in run), default=0)
    panels = [
        _panel(comparison, runs, f"mIoU, level {level + 1}", _miou(level))
        for level in range(levels)
    ]
    if panels:
        panels.append(_panel(comparison, runs, "training loss", lambda one: one.loss))
    html = render(
        "curves.html",
        unread=unread,
        legend=legend(rows),
        panels=switched("curves", panels, {"curve": f"mIoU, level {levels}"}) if panels else "",
    )
    return Section("curves", "Over the epochs", html)


def _miou(level: int) -> _Value:
    return lambda epoch: epoch.levels[level] if level < len(epoch.levels) else None


def _panel(
    comparison: Comparison, runs: Sequence[Sequence[Sequence[Epoch]]], title: str, value: _Value
) -> Panel:
    figure = go.Figure(layout={"height": 400, "showlegend": False, "hovermode": "closest"})
    for index, look in enumerate(looks(comparison.rows)):
        lines = [{one.epoch: value(one) for one in epochs} for epochs in runs[index] if epochs]
        for trace in _traces(label(look.name), look, lines):
            figure.add_trace(trace.update(legendgroup=str(index)))
    figure.update_xaxes(title="epoch", tickformat="d", zeroline=False)
    if max(len(epochs) for row in runs for epochs in row) <= _EACH:
        figure.update_xaxes(dtick=1)
    figure.update_yaxes(title=title)
    where = "validation split" if title != "training loss" else "training split"
    return Panel({"curve": title}, chart(figure, f"{title} of each recipe, {where}, by epoch"))


def _traces(title: str, look: Look, lines: Sequence[dict[int, float | None]]) -> list[go.Scatter]:
    """A line per seed, and their mean over the epochs that all seeds have."""
    if not lines:
        return []
    epochs = sorted(set.intersection(*(set(line) for line in lines)))
    values = np.array([[line[epoch] for epoch in epochs] for line in lines], dtype=float)
    line = {"color": look.color, "dash": look.dash}
    thin = {"mode": "lines", "line": {**line, "width": 1}, "opacity": 0.45, "hoverinfo": "skip"}
    several = lines if len(lines) > 1 else []
    seeds = [go.Scatter(x=list(one), y=list(one.values()), **thin) for one in several]
    mean = go.Scatter(
        x=epochs,
        y=values.mean(axis=0),
        mode="lines+markers" if len(epochs) <= _EACH else "lines",
        line={**line, "width": 2.5},
        marker={"color": look.color, "symbol": look.symbol, "size": 7},
        name=title,
        hovertemplate=f"{title}<br>epoch %{{x}}: %{{y:.3f}}<extra></extra>",
    )
    return [*seeds, mean]
