"""Plotly figures as parts of the page."""

import html
import math
from collections.abc import Iterable

from markupsafe import Markup
from plotly import graph_objects as go
from plotly.io import to_json

from hieraseg.page.looks import lines_of
from hieraseg.page.sections import render


def chart(figure: go.Figure, description: str) -> Markup:
    """A figure, which the page draws as soon as it is seen, in the colors of the page.

    Args:
        figure: the figure, whose layout has a height.
        description: what it shows, for readers who do not see it.
    """
    figure.update_layout(template="none", margin={"l": 8, "r": 8, "t": 28, "b": 8})
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True, title_standoff=12)
    return render(
        "chart.html",
        figure=Markup(to_json(figure, validate=False).replace("<", "\\u003c")),
        description=description,
        height=figure.layout.height,
    )


def label(text: str) -> str:
    """Text for a figure, whose strings are a kind of HTML to plotly."""
    return html.escape(text, quote=False)


def around_zero(intervals: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The range of an axis that has 0 and all intervals, with room at both ends."""
    ends = [0.0, *(end for interval in intervals for end in interval if math.isfinite(end))]
    room = 0.05 * (max(ends) - min(ends)) or 1.0
    return min(ends) - room, max(ends) + room


def tick(text: str) -> str:
    """Text beside an axis, in short lines."""
    return "<br>".join(map(label, lines_of(text)))
