"""A class tree as a chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from plotly import graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb

from hieraseg.page.charts import label
from hieraseg.page.tree_nodes import Tree

_LEAF = 22  # height in pixels
_DARK, _LIGHT = "#000000", "#ffffff"
_PLAIN, _NONE = "rgb(205, 205, 205)", "rgba(0, 0, 0, 0)"


@dataclass(frozen=True)
class Scale:
    """A scale of colors.

    Attributes:
        title: what it shows.
        colors: its name, as plotly knows it.
        low, high: values at its ends.
    """

    title: str
    colors: str
    low: float
    high: float

    def color(self, value: float) -> str:
        """The color of a value, as in `rgb(1, 2, 3)`."""
        place = (value - self.low) / (self.high - self.low)
        (color,) = sample_colorscale(self.colors, [min(max(place, 0), 1)])
        return str(color)


class Cell(NamedTuple):
    """What the chart says of a class: a value, None if there is none, and its label."""

    value: float | None
    text: str


def draw_tree(tree: Tree, scale: Scale, cells: Sequence[Cell], miou: Sequence[str]) -> go.Figure:
    """A tree from left to right, level by level, with a line of text for each leaf.

    Args:
        tree: the tree.
        scale: the colors of values. Excluded classes and those without a value have none.
        cells: what is said of each node.
        miou: text for the mIoU of each level, in the box to the left of level 1.
    """
    nodes = tree.nodes
    inner = {node.parent for node in nodes}
    colors = [
        _PLAIN if cell.value is None or tree.is_excluded(node) else scale.color(cell.value)
        for node, cell in zip(nodes, cells, strict=True)
    ]
    lines = [
        f"{label(tree.text(node))}  <b>{label(cell.text)}</b>"
        for node, cell in zip(nodes, cells, strict=True)
    ]
    means = [f"level {level}: <b>{label(text)}</b>" for level, text in enumerate(miou, 1)]
    trace = go.Icicle(
        ids=["root", *map(str, range(len(nodes)))],
        parents=["", *("root" if one.parent is None else str(one.parent) for one in nodes)],
        labels=["", *(f"level {node.level}" for node in nodes)],
        values=[0, *(0 if index in inner else 1 for index in range(len(nodes)))],
        text=["<br>".join(["mIoU", *means]), *lines],
        textinfo="text",
        hovertemplate="%{label}<br>%{text}<extra></extra>",
        textposition="top left",
        marker={"colors": [_NONE, *colors], "line": {"width": 1.5, "color": "#ffffff"}},
        insidetextfont={"color": [_DARK, *map(_text_color, colors)]},
        leaf={"opacity": 1},
        tiling={"orientation": "h"},
        pathbar={"visible": False},
        sort=False,
    )
    leaves = len(nodes) - len(inner - {None})
    height = max(_LEAF * leaves, 200) + 80
    return go.Figure([trace, _color_bar(scale)], layout={"height": height, **_HIDDEN_AXES})


_HIDDEN_AXES = {"xaxis": {"visible": False}, "yaxis": {"visible": False}}


def _color_bar(scale: Scale) -> go.Scatter:
    """A trace without points, whose color bar explains the colors."""
    bar = {"title": scale.title, "orientation": "h", "thickness": 10, "y": 1, "yanchor": "bottom"}
    marker = {"color": [scale.low], "colorscale": scale.colors, "cmin": scale.low}
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={**marker, "cmax": scale.high, "showscale": True, "colorbar": bar},
    )


def _text_color(background: str) -> str:
    """Black or white, whichever has more contrast to a color."""
    linear = [((part / 255 + 0.055) / 1.055) ** 2.4 for part in unlabel_rgb(background)]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return _DARK if luminance > 0.18 else _LIGHT
