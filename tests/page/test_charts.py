"""The numbers in the charts of the page, recomputed from the run folders."""

import json
import re
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference, Verdict
from hieraseg.comparison.rows import Row
from hieraseg.page import curves, gains, matrices, reliability
from hieraseg.page.looks import lines_of, looks
from hieraseg.page.sections import asset
from hieraseg.visualize.colors import cielab
from tests.support.figures import figures_in


def test_curves_are_the_mean_over_seeds(comparison: Comparison) -> None:
    *levels, losses = figures_in(curves.section(comparison).html)
    for index, row in enumerate(comparison.rows):
        lines = [(run.path / "metrics.jsonl").read_text().splitlines() for run in row.runs]
        records = [[json.loads(line) for line in one] for one in lines]
        loss = np.mean([[record["loss"] for record in one] for one in records], axis=0)
        traces = [trace for trace in losses["data"] if trace["legendgroup"] == str(index)]
        assert traces[-1]["y"] == pytest.approx(loss)
        assert traces[-1]["x"] == [record["epoch"] for record in records[0]]
        assert len(traces) == (4 if len(row.runs) == 3 else 1), "a thin line for each of 3 seeds"
        modes = {trace["mode"] for trace in traces[:-1]}
        assert modes <= {"markers"}, "one validation is no line, which could not be seen"
        for level, figure in enumerate(levels):
            mious = [[record["val"]["levels"][level]["miou"] for record in one] for one in records]
            traces = [trace for trace in figure["data"] if trace["legendgroup"] == str(index)]
            assert traces[-1]["y"] == pytest.approx(np.mean(mious, axis=0))


def test_confusion_is_a_share_of_the_target(comparison: Comparison) -> None:
    figures = iter(figures_in(matrices.section(comparison).html))
    for row in comparison.rows:
        files = [np.load(run.path / "evaluation/val.npz") for run in row.runs]
        for level in (1, 2, 3):
            counts = sum(file[f"confusion_{level}"] for file in files)
            heatmap, text = next(figures)["data"]
            assert heatmap["customdata"] == counts.tolist()
            for target, shares in enumerate(heatmap["z"]):
                expected = 100 * counts[target] / max(1, counts[target].sum())
                assert counts[target].sum() == 0 or shares == pytest.approx(expected, rel=1e-6)
            classes = list(row.scores[0]["levels"][level - 1]["iou"])
            assert heatmap["x"] == heatmap["y"] == classes
            assert len(text["text"]) == len(classes) ** 2
    assert next(figures, None) is None


def test_the_gaps_of_a_reliability_diagram_are_the_calibration_error(
    comparison: Comparison,
) -> None:
    """Weighted by pixels, as the scores of a run of one seed say it."""
    one_seed = [row for row in comparison.rows if len(row.runs) == 1]
    figures = figures_in(reliability.section(replace(comparison, rows=one_seed)).html)
    for figure, level in zip(figures, one_seed[0].scores[0]["levels"], strict=True):
        _, correct, share = figure["data"]
        gaps = np.abs(np.array(correct["y"]) - np.array(correct["x"]))
        assert np.sum(gaps * np.array(share["y"]) / 100) == pytest.approx(level["ece"], abs=1e-6)
        assert sum(share["y"]) == pytest.approx(100)


def test_gains_are_sorted_and_filled_where_there_is_a_verdict(comparison: Comparison) -> None:
    title = comparison.rows[0].title
    cases: list[tuple[str, float, Verdict]] = [
        ("head", 0.2, "better"),
        ("torso", -0.1, "worse"),
        ("arms", 0.05, "not distinguishable"),
    ]
    found = [
        Difference(1, name, value, (value - 0.1, value + 0.2), 0.9, 0.01, 0.1, verdict)
        for name, value, verdict in cases
    ]
    one = replace(comparison, class_differences={title: found})
    (figure,) = figures_in(gains.section(one).html)
    (trace,) = figure["data"]
    assert trace["y"] == ["torso", "arms", "head"]
    assert trace["x"] == [-0.1, 0.05, 0.2]
    assert trace["marker"]["symbol"] == ["circle", "circle-open", "circle"]
    assert trace["error_x"]["array"] == pytest.approx([0.2] * 3)
    assert trace["error_x"]["arrayminus"] == pytest.approx([0.1] * 3)


def test_without_a_baseline_the_iou_of_each_class_is_drawn(comparison: Comparison) -> None:
    figures = figures_in(gains.section(replace(comparison, baseline=None)).html)
    for level, figure in enumerate(figures):
        for row, trace in zip(comparison.rows, figure["data"], strict=True):
            ious = [scores["levels"][level]["iou"] for scores in row.scores]
            for name, shown in zip(trace["y"], trace["x"], strict=True):
                known = [iou[name] for iou in ious if iou[name] is not None]
                assert shown == (pytest.approx(np.mean(known)) if known else None)


def test_many_rows_look_different_and_are_seen_on_light_and_dark_pages() -> None:
    found = looks([Row(f"study/{index}", ()) for index in range(32)])
    assert len({(look.color, look.symbol) for look in found}) == 32
    assert len({(look.color, look.dash) for look in found}) == 32
    assert [look.name for look in found[:2]] == ["0", "1"]
    pages = re.findall(r"--page: (#\w{6})", asset("page.css"))
    assert len(pages) == 2
    for color in {look.color for look in found}:
        assert all(contrast(color, page) >= 3 for page in pages), color


# Machado et al. 2009, doi:10.1109/TVCG.2009.113, severity 1: linear RGB as it is seen.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("vision", VISION)
def test_rows_are_told_apart_by_color_blind_readers(vision: str) -> None:
    colors = [look.color for look in looks([Row(f"study/{index}", ()) for index in range(8)])]
    seen = np.clip([np.array(VISION[vision]) @ linear(color) for color in colors], 0, 1)
    srgb = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cielab((255 * srgb).round().astype(int))
    distances = [np.linalg.norm(one - other) for one, other in combinations(lab, 2)]
    assert min(distances) > 15


@pytest.mark.parametrize("word", ["text", "muted", "link", "good", "bad"])
def test_words_are_read_on_light_and_dark_pages(word: str) -> None:
    css = asset("page.css")
    colors = re.findall(rf"--{word}: (#\w{{6}})", css)
    for background in ("page", "raised"):
        for color, page in zip(
            colors, re.findall(rf"--{background}: (#\w{{6}})", css), strict=True
        ):
            assert contrast(color, page) >= 4.5


def linear(color: str) -> Any:
    """Linear RGB of a CSS color, in 0..1."""
    srgb = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Contrast of two colors (WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""
    luminances = [linear(color) @ (0.2126, 0.7152, 0.0722) + 0.05 for color in (one, other)]
    return float(max(luminances) / min(luminances))


def test_rows_of_several_folders_keep_them() -> None:
    rows = [Row("a/base", ()), Row("b/base", ())]
    assert [look.name for look in looks(rows)] == ["a/base", "b/base"]


@given(st.text(alphabet="ab,=_/ -", max_size=80), st.integers(1, 30))
def test_names_are_broken_between_their_parts(name: str, width: int) -> None:
    lines = lines_of(name, width)
    assert "".join(lines) == name
    for line in lines:
        assert len(line) <= width or not re.search(r"[/,_ =-].", line)
        assert len(line) <= max(width, 22)  # or one name would take the whole width of a chart
