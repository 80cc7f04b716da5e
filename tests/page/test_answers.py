"""The sentences that answer whether a row is better than the baseline."""

import math
from dataclasses import replace

import pytest

from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference, Verdict
from hieraseg.page import answers
from tests.support.figures import figures_in


def difference(
    verdict: Verdict | None, value: float, interval: tuple[float, float], p: float
) -> Difference:
    return Difference(3, None, value, interval, 0.9, p, 0.0204, verdict)


CASES = {
    "better": (
        difference("better", 0.0211, (0.0089, 0.0342), 0.004),
        "better",
        "by 0.021 (95 % interval 0.009 to 0.034, p = 0.004, 3 seeds each)",
    ),
    "worse": (
        difference("worse", -0.0211, (-0.0342, -0.0089), 0.0002),
        "worse",
        "by 0.021 (95 % interval 0.009 to 0.034, p < 0.001, 3 seeds each)",
    ),
    "not distinguishable": (
        difference("not distinguishable", 0.004, (-0.01, 0.018), 0.61),
        "not distinguishable",
        "the difference is +0.004 (95 % interval -0.010 to +0.018, p = 0.610, 3 seeds each); "
        "a difference of 0.020 or more would show",
    ),
    "too many differences": (
        difference("not distinguishable", -0.041, (-0.057, -0.025), 0.106),
        "not distinguishable",
        "the difference is -0.041 (95 % interval -0.057 to -0.025, p = 0.106, 3 seeds each); "
        "p is corrected for all recipes and levels",
    ),
    "no noise": (
        replace(difference("not distinguishable", 0.0, (0.0, 0.0), 1.0), detectable=math.nan),
        "not distinguishable",
        "the difference is +0.000 (95 % interval +0.000 to +0.000, p = 1.000, 3 seeds each); "
        "each image is scored alike",
    ),
    "no verdict": (
        difference(None, 0.004, (-0.01, 0.018), 0.61),
        "no verdict with so many recipes or so few images",
        "the difference is +0.004 (95 % interval -0.010 to +0.018, p = 0.610, 3 seeds each)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_difference_in_words(case: str, comparison: Comparison) -> None:
    one, verdict, details = CASES[case]
    assert comparison.baseline is not None
    assert len(comparison.baseline.runs) == 3
    found = answers.answer(one, comparison.baseline, comparison.baseline)
    assert (found.level, found.verdict, found.details) == (3, verdict, details)


def test_other_numbers_of_seeds_are_said(comparison: Comparison) -> None:
    assert comparison.baseline is not None
    few = replace(comparison.baseline, runs=comparison.baseline.runs[:2])
    found = answers.answer(CASES["no verdict"][0], few, comparison.baseline)
    assert "2 and 3 seeds" in found.details
    assert found.verdict == "no verdict with fewer than 3 seeds"


def test_the_chart_has_each_difference_and_its_interval(comparison: Comparison) -> None:
    figures = figures_in(answers.section(comparison).html)
    assert len(figures) == 3
    for level, figure in enumerate(figures):
        shown = [
            (trace["x"][0], trace["error_x"]["arrayminus"][0], trace["error_x"]["array"][0])
            for trace in figure["data"]
        ]
        expected = [found[level] for found in comparison.differences.values()]
        assert len(shown) == len(expected) == 2
        for trace, one in zip(figure["data"], expected, strict=True):
            is_found = one.verdict in ("better", "worse")
            assert trace["marker"]["symbol"].endswith("-open") != is_found
        for (value, below, above), one in zip(shown, expected, strict=True):
            assert value == pytest.approx(one.difference)
            assert (value - below, value + above) == pytest.approx(one.interval)


def test_the_chart_has_0_and_the_rows_that_are_compared(comparison: Comparison) -> None:
    """Though all intervals are on one side of it, and another row was scored by other rules."""
    title, found = next(iter(comparison.differences.items()))
    worse = [replace(one, difference=-0.2, interval=(-0.3, -0.1)) for one in found]
    figures = figures_in(answers.section(replace(comparison, differences={title: worse})).html)
    for figure in figures:
        low, high = figure["layout"]["xaxis"]["range"]
        assert low < -0.3 < 0 < high
        assert figure["layout"]["yaxis"]["range"] == [0.5, -0.5]


def test_without_a_baseline_each_seed_is_drawn(comparison: Comparison) -> None:
    alone = replace(comparison, baseline=None, differences={}, class_differences={})
    figures = figures_in(answers.section(alone).html)
    for level, figure in enumerate(figures):
        means, seeds = figure["data"][::2], figure["data"][1::2]
        for row, mean, one in zip(comparison.rows, means, seeds, strict=True):
            values = [scores["levels"][level]["miou"] for scores in row.scores]
            assert one["x"] == values
            assert mean["x"] == [pytest.approx(sum(values) / len(values))]
