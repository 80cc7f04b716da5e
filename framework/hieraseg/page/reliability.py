"""Section: reliability diagrams."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from markupsafe import Markup
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from hieraseg.comparison.columns import all_columns
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.rows import Row
from hieraseg.errors import RecipeError
from hieraseg.metrics.calibration import BINS, UNIT
from hieraseg.page.charts import chart, label
from hieraseg.page.counts import summed_counts
from hieraseg.page.looks import Look, legend, with_looks
from hieraseg.page.panels import Panel, switched
from hieraseg.page.sections import Section, render


class _Curve(NamedTuple):
    """Counts per bin of the scores of a row's predictions, over all images and seeds."""

    row: int
    look: Look
    counts: Int[np.ndarray, "3 bins"]


def section(comparison: Comparison) -> Section:
    """For each level, how often the predictions of a score are right."""
    curves: dict[int, list[_Curve]] = {}
    problems = []
    for index, (row, look) in enumerate(with_looks(comparison.rows)):
        try:
            for level, counts in _read(row).items():
                curves.setdefault(level, []).append(_Curve(index, look, counts))
        except RecipeError as error:
            problems.append(f"{look.name}: {error}")
    panels = [
        Panel({"level": str(level)}, _panel(comparison, level, found))
        for level, found in sorted(curves.items())
    ]
    html = render(
        "reliability.html",
        problems=problems,
        legend=legend(comparison.rows),
        panels=switched("reliability", panels, {"level": str(max(curves))}) if panels else "",
    )
    return Section("reliability", "Reliability of the scores", html)


def _panel(comparison: Comparison, level: int, curves: Sequence[_Curve]) -> Markup:
    error = next(one for one in all_columns(comparison.rows) if one.title == f"ECE L{level}")
    return render(
        "reliability_level.html",
        chart=chart(_diagram(curves), f"Reliability diagram of each recipe, level {level}"),
        errors=[(curve.look, error.text(comparison.rows[curve.row])) for curve in curves],
    )


def _read(row: Row) -> dict[int, Int[np.ndarray, "3 bins"]]:
    levels = [level["level"] for level in row.scores[0]["levels"]]
    counts = summed_counts(row, {f"calibration_{level}": (3, BINS) for level in levels})
    return {level: counts[f"calibration_{level}"] for level in levels}


def _diagram(curves: Sequence[_Curve]) -> go.Figure:
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[3, 1], vertical_spacing=0.06)
    diagonal = go.Scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": "#7a7a7a", "width": 1}, hoverinfo="skip"
    )
    figure.add_trace(diagonal, 1, 1)
    for curve in curves:
        pixels, correct, scores = curve.counts
        used = pixels > 0
        score = scores[used] / UNIT / pixels[used]
        name = label(curve.look.name)
        line = {
            "x": score,
            "mode": "lines+markers",
            "line": {"color": curve.look.color, "dash": curve.look.dash},
            "marker": {"symbol": curve.look.symbol, "size": 6},
            "legendgroup": str(curve.row),
        }
        fraction = correct[used] / pixels[used]
        text = f"{name}<br>score %{{x:.3f}}<br>%{{y:.3f}} correct<extra></extra>"
        figure.add_trace(go.Scatter(y=fraction, hovertemplate=text, **line), 1, 1)
        share = 100 * pixels[used] / pixels.sum()
        text = f"{name}<br>score %{{x:.3f}}<br>%{{y:.1f}} % of pixels<extra></extra>"
        figure.add_trace(go.Scatter(y=share, hovertemplate=text, **line), 2, 1)
    figure.update_layout(height=560, showlegend=False, hovermode="closest")
    figure.update_xaxes(range=[-0.02, 1.02])
    figure.update_xaxes(title="score of the predicted class", row=2)
    figure.update_yaxes(title="fraction correct", range=[-0.02, 1.02], row=1)
    figure.update_yaxes(title="% of pixels", rangemode="tozero", row=2)
    return figure
