"""Section: confusion matrices."""

import numpy as np
from jaxtyping import Float32, Int
from plotly import graph_objects as go
from plotly.colors import sample_colorscale

from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.rows import Row
from hieraseg.errors import RecipeError
from hieraseg.page.charts import chart, tick
from hieraseg.page.counts import summed_counts
from hieraseg.page.looks import with_looks
from hieraseg.page.panels import Panel, switched
from hieraseg.page.sections import Section, render

_WRITTEN = 12
"""Classes of the largest matrix whose cells hold numbers."""

_STEPS = np.linspace(0, 1, 9)
_COLORS = list(zip(_STEPS**2, sample_colorscale("Cividis", _STEPS), strict=True))
"""Colors by the square root of the share, so that confusions of a few percent are seen."""

_BRIGHT = 22
"""Above this share, black has more contrast to the color than white."""


def section(comparison: Comparison) -> Section:
    """The confusion matrix of each level of each row, over all images and seeds."""
    panels, problems = [], []
    for row, look in with_looks(comparison.rows):
        try:
            panels += _panels(row, look.name)
        except RecipeError as error:
            problems.append(f"{look.name}: {error}")
    levels = max((int(panel.choice["level"]) for panel in panels), default=0)
    html = render(
        "matrices.html",
        problems=problems,
        panels=switched("matrices", panels, {"level": str(levels)}) if panels else "",
    )
    return Section("confusion", "Confusion matrices", html)


def _panels(row: Row, name: str) -> list[Panel]:
    classes = {one["level"]: list(one["iou"]) for one in row.scores[0]["levels"]}
    shapes = {f"confusion_{level}": (len(names),) * 2 for level, names in classes.items()}
    counts = summed_counts(row, shapes)
    return [
        Panel(
            {"level": str(level), "recipe": name},
            chart(
                _matrix(names, counts[f"confusion_{level}"]),
                f"Confusion matrix of {name}, level {level}",
            ),
        )
        for level, names in classes.items()
    ]


def _matrix(classes: list[str], counts: Int[np.ndarray, "C C"]) -> go.Figure:
    """The share of the pixels of each target class that is predicted as each class."""
    total = counts.sum(axis=1, keepdims=True)
    share = np.where(total > 0, 100 * counts / np.maximum(total, 1), np.nan).astype(np.float32)
    names = [tick(name) for name in classes]
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=share,
            customdata=counts.astype(np.float64),
            zmin=0,
            zmax=100,
            colorscale=_COLORS,
            hovertemplate="target %{y}<br>predicted %{x}<br>%{z:.1f} % of the target's pixels"
            "<br>%{customdata:,d} pixels<extra></extra>",
            colorbar={"title": {"text": "%"}, "thickness": 12},
        )
    )
    if len(classes) <= _WRITTEN:
        figure.add_trace(_numbers(names, share))
    size = max(300, 120 + 42 * len(classes)) if len(classes) <= _WRITTEN else 720
    figure.update_layout(height=size)
    figure.update_xaxes(type="category", title="predicted", range=[-0.5, len(names) - 0.5])
    figure.update_yaxes(type="category", title="target", range=[len(names) - 0.5, -0.5])
    return figure


def _numbers(names: list[str], share: Float32[np.ndarray, "C C"]) -> go.Scatter:
    """The numbers of the cells, in black or white, whichever has more contrast."""
    cells = [(x, y, share[j, i]) for j, y in enumerate(names) for i, x in enumerate(names)]
    columns, rows, values = zip(*cells, strict=True)
    return go.Scatter(
        x=columns,
        y=rows,
        mode="text",
        text=["" if np.isnan(value) else f"{value:.0f}" for value in values],
        textfont={"color": ["#000" if value > _BRIGHT else "#fff" for value in values]},
        hoverinfo="skip",
    )
