"""Section: which rows are better than the baseline, by how much, and how sure that is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from plotly import graph_objects as go

from hieraseg.comparison import numbers
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference
from hieraseg.comparison.differences import SEEDS
from hieraseg.comparison.rows import Row
from hieraseg.page.charts import around_zero, chart, label, tick
from hieraseg.page.looks import Look, lines_of, with_looks
from hieraseg.page.panels import Panel, switched
from hieraseg.page.sections import Section, render

_LINE, _MORE = 30, 16
"""Height of a row in pixels, and of each line but the first of its name."""


@dataclass(frozen=True)
class Answer:
    """What is known of a row on a level.

    Attributes:
        level: the level.
        verdict: `better`, `worse` or a longer one.
        details: a sentence of the difference and how sure it is.
    """

    level: int
    verdict: str
    details: str


def section(comparison: Comparison) -> Section:
    """A sentence per row and level, and a chart of the differences with their intervals."""
    baseline = comparison.baseline
    if baseline is None:
        html = render("scores.html", panels=_switched(list(_scores(comparison))))
        return Section("answer", "Scores", html)
    rows = with_looks(comparison.rows)
    compared = [(row, look) for row, look in rows if row.title != baseline.title]
    html = render(
        "answers.html",
        baseline=next(look for row, look in rows if row.title == baseline.title),
        answers=[(look, _answers(comparison, baseline, row)) for row, look in compared],
        panels=_switched(list(_differences(comparison.differences, compared))),
    )
    return Section("answer", "Better than the baseline?", html)


def _answers(comparison: Comparison, baseline: Row, row: Row) -> list[Answer]:
    return [answer(one, row, baseline) for one in comparison.differences.get(row.title, ())]


def answer(difference: Difference, row: Row, baseline: Row) -> Answer:
    """A difference in words."""
    level, verdict = difference.level, difference.verdict
    if verdict in ("better", "worse"):
        size = f"{abs(difference.difference):.3f}"
        ends = [f"{end:.3f}" for end in sorted(map(abs, difference.interval))]
    else:
        size = numbers.difference(difference.difference)
        ends = [numbers.difference(end) for end in difference.interval]
    p = numbers.p_value(difference.p)
    sign = "<" if p.startswith("<") else "="
    own, others = len(row.runs), len(baseline.runs)
    seeds = f"{own} seeds each" if own == others else f"{own} and {others} seeds"
    sure = f"95 % interval {' to '.join(ends)}, p {sign} {p.lstrip('<')}, {seeds}"
    if verdict is None:
        details = f"the difference is {size} ({sure})"
        few = min(own, others) < SEEDS
        why = f"with fewer than {SEEDS} seeds" if few else "with so many recipes or so few images"
        return Answer(level, f"no verdict {why}", details)
    if verdict == "not distinguishable":
        would_show = f"a difference of {difference.detectable:.3f} or more would show"
        if math.isnan(difference.detectable):
            would_show = "each image is scored alike"
        elif abs(difference.difference) >= difference.detectable:
            would_show = "p is corrected for all recipes and levels"
        return Answer(level, verdict, f"the difference is {size} ({sure}); {would_show}")
    return Answer(level, verdict, f"by {size} ({sure})")


def _switched(panels: Sequence[Panel]) -> Markup:
    """The panels of the levels, the finest first to be seen."""
    return switched("answer", panels, panels[-1].choice) if panels else Markup()


def _differences(
    differences: Mapping[str, Sequence[Difference]], rows: Sequence[tuple[Row, Look]]
) -> Iterator[Panel]:
    """A chart per level: the difference of each row, and its interval."""
    for level in sorted({one.level for found in differences.values() for one in found}):
        shown = [
            (one, look)
            for row, look in rows
            for one in differences.get(row.title, ())
            if one.level == level
        ]
        figure = _forest("difference in mIoU", [look for _, look in shown])
        figure.add_vline(0, line={"color": "#7a7a7a", "width": 1.5})
        figure.add_traces([_interval(one, look) for one, look in shown])
        figure.update_xaxes(tickformat="+.3~f", range=around_zero(one.interval for one, _ in shown))
        text = f"Differences to the baseline on level {level}, with 95 % intervals"
        yield Panel({"level": str(level)}, chart(figure, text))


def _interval(difference: Difference, look: Look) -> go.Scatter:
    low, high = difference.interval
    fill = "" if difference.verdict in ("better", "worse") else "-open"
    text = (
        f"{label(look.name)}: {numbers.difference(difference.difference)} "
        f"{numbers.interval(difference.interval)}<br>"
        f"p {numbers.p_value(difference.p)}, better with probability "
        f"{numbers.probability(difference.probability_better)}<extra></extra>"
    )
    return go.Scatter(
        x=[difference.difference],
        y=[tick(look.name)],
        mode="markers",
        marker={"color": look.color, "symbol": f"{look.symbol}{fill}", "size": 11},
        error_x={
            "array": [high - difference.difference],
            "arrayminus": [difference.difference - low],
            "color": look.color,
            "thickness": 2.5,
        },
        hovertemplate=text,
    )


def _scores(comparison: Comparison) -> Iterator[Panel]:
    """A chart per level: the mIoU of each seed of each row, and its mean."""
    rows = with_looks(comparison.rows)
    levels = sorted({one["level"] for row, _ in rows for one in row.scores[0]["levels"]})
    for level in levels:
        figure = _forest("mIoU", [look for _, look in rows])
        for row, look in rows:
            found = [one for scores in row.scores for one in scores["levels"]]
            values = [one["miou"] for one in found if one["level"] == level]
            figure.add_trace(
                go.Scatter(
                    x=[numbers.mean(values)],
                    y=[tick(look.name)],
                    mode="markers",
                    marker={"color": look.color, "symbol": "line-ns-open", "size": 20},
                    hovertemplate="mean over seeds: %{x:.3f}<extra></extra>",
                )
            )
            figure.add_trace(
                go.Scatter(
                    x=values,
                    y=[tick(look.name)] * len(values),
                    mode="markers",
                    marker={"color": look.color, "symbol": look.symbol, "size": 9},
                    customdata=row.seeds,
                    hovertemplate="seed %{customdata}: %{x:.3f}<extra></extra>",
                )
            )
        yield Panel({"level": str(level)}, chart(figure, f"mIoU of each recipe on level {level}"))


def _forest(title: str, rows: Sequence[Look]) -> go.Figure:
    lines = max(len(lines_of(look.name)) for look in rows)
    height = 100 + (_LINE + _MORE * (lines - 1)) * len(rows)
    figure = go.Figure(layout={"height": height, "showlegend": False})
    figure.update_xaxes(title=title)
    figure.update_yaxes(type="category", range=[len(rows) - 0.5, -0.5])
    return figure
