"""Section: scores and losses over the epochs."""

from collections.abc import Callable, Sequence

import numpy as np
from plotly import graph_objects as go

from hieraseg.comparison.comparison import Comparison
from hieraseg.page.charts import chart, label
from hieraseg.page.looks import Look, legend, looks
from hieraseg.page.panels import Panel, switched
from hieraseg.page.sections import Section, render
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.validations import Validation, read_validations

_Value = Callable[[Validation], float | None]
_TRAINING = "training loss"
_EACH = 20
"""Validations of which each has a marker and a number."""


def section(comparison: Comparison) -> Section:
    """Curves of each row: the mean over its seeds, and a thin line for each of them."""
    rows = comparison.rows
    runs = [[read_validations(RunFolder(run.path)) for run in row.runs] for row in rows]
    unread = [look.name for look, found in zip(looks(rows), runs, strict=True) if not all(found)]
    levels = max((len(one.levels) for row in runs for run in row for one in run), default=0)
    panels = [
        _panel(comparison, runs, f"mIoU, level {level + 1}", _miou(level))
        for level in range(levels)
    ]
    if panels:
        panels.append(_panel(comparison, runs, _TRAINING, lambda one: one.loss))
    if any(one.val_loss is not None for row in runs for run in row for one in run):
        panels.append(_panel(comparison, runs, "validation loss", lambda one: one.val_loss))
    html = render(
        "curves.html",
        unread=unread,
        legend=legend(rows),
        panels=switched("curves", panels, {"curve": f"mIoU, level {levels}"}) if panels else "",
    )
    return Section("curves", "Over the epochs", html)


def _miou(level: int) -> _Value:
    return lambda one: one.levels[level] if level < len(one.levels) else None


def _panel(
    comparison: Comparison,
    runs: Sequence[Sequence[Sequence[Validation]]],
    title: str,
    value: _Value,
) -> Panel:
    figure = go.Figure(layout={"height": 400, "showlegend": False, "hovermode": "closest"})
    for index, look in enumerate(looks(comparison.rows)):
        lines = [{one.passes: value(one) for one in run} for run in runs[index] if run]
        for trace in _traces(label(look.name), look, lines):
            figure.add_trace(trace.update(legendgroup=str(index)))
    figure.update_xaxes(title="epoch", zeroline=False)
    moments = {one.passes for row in runs for run in row for one in run}
    if all(map(float.is_integer, moments)):
        figure.update_xaxes(tickformat="d")
        if len(moments) <= _EACH:
            figure.update_xaxes(dtick=1)
    figure.update_yaxes(title=title)
    where = "training split" if title == _TRAINING else "validation split"
    return Panel({"curve": title}, chart(figure, f"{title} of each recipe, {where}, by epoch"))


def _seed(values: dict[float, float | None], look: Look) -> go.Scatter:
    """The thin line of a seed; a small marker if there is one moment, which makes no line."""
    return go.Scatter(
        x=list(values),
        y=list(values.values()),
        mode="lines" if len(values) > 1 else "markers",
        line={"color": look.color, "dash": look.dash, "width": 1},
        marker={"color": look.color, "symbol": f"{look.symbol}-open", "size": 5},
        opacity=0.45 if len(values) > 1 else 1,
        hoverinfo="skip",
    )


def _traces(title: str, look: Look, lines: Sequence[dict[float, float | None]]) -> list[go.Scatter]:
    """A line per seed, and their mean at the moments that all seeds have."""
    if not lines:
        return []
    moments = sorted(set.intersection(*(set(line) for line in lines)))
    values = np.array([[line[moment] for moment in moments] for line in lines], dtype=float)
    line = {"color": look.color, "dash": look.dash}
    several = lines if len(lines) > 1 else []
    seeds = [_seed(one, look) for one in several]
    mean = go.Scatter(
        x=moments,
        y=values.mean(axis=0),
        mode="lines+markers" if len(moments) <= _EACH else "lines",
        line={**line, "width": 2.5},
        marker={"color": look.color, "symbol": look.symbol, "size": 7},
        name=title,
        hovertemplate=f"{title}<br>epoch %{{x}}: %{{y:.3f}}<extra></extra>",
    )
    return [*seeds, mean]
