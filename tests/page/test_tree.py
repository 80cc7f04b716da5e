"""The class tree on the page: its shape, its numbers and its colors."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hieraseg
from hieraseg.comparison.comparison import Comparison
from hieraseg.page import tree
from hieraseg.page.sections import Section
from hieraseg.page.tree_chart import Cell, Scale, draw_tree
from hieraseg.page.tree_nodes import Node, Tree, find_tree


@pytest.fixture(scope="module")
def section(comparison: Comparison) -> Section:
    """The section of the study."""
    return tree.section(comparison)


def boxes(section: Section) -> Iterator[dict[str, str]]:
    """Of each chart, the text of each box by its level and class, without bold type."""
    for part in section.html.split('<script type="application/json">')[1:]:
        trace: dict[str, Any] = json.loads(part.partition("</script>")[0])["data"][0]
        texts = [text.replace("<b>", "").replace("</b>", "") for text in trace["text"]]
        yield {
            f"{level} {text.partition('  ')[0]}".strip(): text.partition("  ")[2]
            for level, text in zip(trace["labels"], texts, strict=True)
        }


def test_the_tree_is_that_of_the_runs(comparison: Comparison) -> None:
    found = find_tree(comparison.rows)
    assert found is not None
    hierarchy = hieraseg.load(comparison.rows[0].runs[0].path).hierarchy
    nested: dict[str, Any] = {}
    branches: list[dict[str, Any]] = []
    for node in found.nodes:
        branches.append({})
        above = nested if node.parent is None else branches[node.parent]
        above[node.name] = branches[-1]
    chain = {"background": {"background": {"background": {}}}}
    body = {part: {leaf: {} for leaf in leaves} for part, leaves in hierarchy.tree["body"].items()}
    assert nested == {**chain, "body": body}
    assert found.background == "background"


def test_boxes_have_the_mean_over_seeds(section: Section, comparison: Comparison) -> None:
    for row, texts in zip(comparison.rows, boxes(section), strict=False):
        for level in (1, 2, 3):
            ious = [scores["levels"][level - 1]["iou"] for scores in row.scores]
            for name in set(ious[0]) - {"background"}:
                known = [iou[name] for iou in ious if iou[name] is not None]
                expected = f"{np.mean(known):.3f}" if known else "-"
                assert texts[f"level {level} {name}"] == expected
        assert "level 3 background (not in mIoU)" in texts


def test_boxes_have_differences_with_intervals(section: Section, comparison: Comparison) -> None:
    rows = [row for row in comparison.rows if row.title in comparison.class_differences]
    charts = list(boxes(section))[len(comparison.rows) :]
    assert len(charts) == len(rows) == len(comparison.rows) - 1
    for row, texts in zip(rows, charts, strict=True):
        for one in comparison.class_differences[row.title]:
            if np.isfinite(one.difference) and one.class_name != "background":
                low, high = one.interval
                expected = f"{one.difference:+.3f} [{low:+.3f}, {high:+.3f}]"
                assert texts[f"level {one.level} {one.class_name}"] == expected


def test_the_table_has_classes_below_their_parents(section: Section) -> None:
    names = [
        part.partition("</th>")[0].partition(">")[2]
        for part in section.html.split('<th scope="row"')[1:]
    ]
    assert names[:4] == [*["background (not in mIoU)"] * 3, "body"]
    assert names.index("upper_body") < names.index("head") < names.index("lower_body")


def luminance(color: str) -> float:
    """Relative luminance of `#rrggbb` or `rgb(r, g, b)`, as WCAG 2 defines it."""
    parts = (
        [int(color[place : place + 2], 16) for place in (1, 3, 5)]
        if color.startswith("#")
        else [float(part) for part in color.strip("rgb()").split(",")]
    )
    shares = [part / 255 for part in parts]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    "scale", [Scale("IoU", "Viridis", 0, 1), Scale("difference", "RdBu", 0, 1)]
)
def test_text_can_be_read_on_every_color(scale: Scale) -> None:
    values = np.linspace(0, 1, 41).tolist()
    nodes = [Node(1, f"class{number}", None) for number in range(len(values))]
    figure = draw_tree(Tree(nodes, None), scale, [Cell(value, "") for value in values], [])
    trace = figure.data[0]
    for back, text in zip(trace.marker.colors[1:], trace.insidetextfont.color[1:], strict=True):
        light, dark = sorted([luminance(back), luminance(text)], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_many_classes_have_a_line_each() -> None:
    nodes = [Node(1, "stuff", None), *(Node(2, f"class{number}", 0) for number in range(171))]
    cells = [Cell(0.5, "0.500")] * len(nodes)
    figure = draw_tree(Tree(nodes, None), Scale("IoU", "Viridis", 0, 1), cells, [])
    assert figure.layout.height > 171 * 18


def test_classes_without_a_value_have_no_color() -> None:
    nodes = [Node(1, "sky", None), Node(1, "void", None)]
    scale = Scale("IoU", "Viridis", 0, 1)
    figure = draw_tree(Tree(nodes, "void"), scale, [Cell(None, "-"), Cell(0.5, "0.5")], [])
    assert len(set(figure.data[0].marker.colors[1:])) == 1


def test_runs_without_a_tree_get_a_sentence(comparison: Comparison, tmp_path: Path) -> None:
    row = comparison.rows[0]
    copy = Path(shutil.copytree(row.runs[0].path, tmp_path / "copy"))
    shutil.rmtree(copy / "checkpoints")
    alone = replace(row, runs=(replace(row.runs[0], path=copy),))
    assert "no run here has one" in tree.section(replace(comparison, rows=[alone])).html


def test_names_are_text(comparison: Comparison) -> None:
    nodes = [Node(1, "<b>sky", None)]
    figure = draw_tree(Tree(nodes, None), Scale("IoU", "Viridis", 0, 1), [Cell(0.5, "0.5")], [])
    assert "&lt;b&gt;sky" in figure.data[0].text[1]
