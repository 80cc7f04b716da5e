"""Section: the class tree with the IoU of each class."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference
from hieraseg.comparison.numbers import difference, interval, mean, mean_and_spread
from hieraseg.comparison.rows import Row
from hieraseg.page.charts import chart
from hieraseg.page.looks import looks
from hieraseg.page.panels import Panel, switched
from hieraseg.page.sections import Section, render
from hieraseg.page.tree_chart import Cell, Scale, draw_tree
from hieraseg.page.tree_nodes import Tree, find_tree

_Rows = Mapping[str, Row]
"""Rows by their names on the page."""


def section(comparison: Comparison) -> Section:
    """The tree of each row, in the colors of its IoU or of its difference to the baseline."""
    tree = find_tree(comparison.rows)
    if tree is None:
        return Section("tree", "Class tree", render("tree.html", tree=None))
    named = list(zip([look.name for look in looks(comparison.rows)], comparison.rows, strict=True))
    rows = {name: row for name, row in named if tree.fits(row)}
    panels = [*_iou_panels(comparison, tree, rows), *_difference_panels(comparison, tree, rows)]
    html = render(
        "tree.html",
        tree=switched("tree", panels),
        others=[name for name, _ in named if name not in rows],
        has_differences=bool(comparison.class_differences),
        names=list(rows),
        lines=list(_lines(tree, [_iou_cells(tree, row) for row in rows.values()])),
    )
    return Section("tree", "Class tree", html, assets=("tree.css",))


def _iou_panels(comparison: Comparison, tree: Tree, rows: _Rows) -> Iterator[Panel]:
    """A tree per row, in the colors of its IoU."""
    choice = {"colors": "IoU"} if comparison.class_differences else {}
    for name, row in rows.items():
        levels = [
            [scores["levels"][i]["miou"] for scores in row.scores] for i in range(tree.levels)
        ]
        heading = [mean_and_spread(values) for values in levels]
        figure = draw_tree(tree, Scale("IoU", "Viridis", 0, 1), _iou_cells(tree, row), heading)
        description = f"The class tree of {name}; its IoUs are in the table below."
        yield Panel({"recipe": name, **choice}, _wide(chart(figure, description)))


def _difference_panels(comparison: Comparison, tree: Tree, rows: _Rows) -> Iterator[Panel]:
    """A tree per row, in the colors of its differences to the baseline, if they are known."""
    known = comparison.class_differences
    values = [
        abs(one.difference)
        for found in known.values()
        for one in found
        if one.class_name != tree.background
    ]
    largest = max((value for value in values if math.isfinite(value)), default=0) or 1
    for name, row in rows.items() if known else ():
        choice = {"recipe": name, "colors": "difference"}
        if row.title not in known:
            sentence = "<p>{} is the baseline, or cannot be compared with it.</p>"
            yield Panel(choice, Markup(sentence).format(name))
            continue
        means = comparison.differences.get(row.title, ())
        heading = [_text(one) for one in means]
        scale = Scale("difference", "RdBu", -largest, largest)
        figure = draw_tree(tree, scale, _difference_cells(tree, known[row.title]), heading)
        description = f"The class tree of {name}, with its differences to the baseline."
        yield Panel(choice, _wide(chart(figure, description)))


def _iou_cells(tree: Tree, row: Row) -> list[Cell]:
    """IoU of each node, as the mean over seeds; None for a class without a score."""
    found = []
    for node in tree.nodes:
        levels = [scores["levels"][node.level - 1] for scores in row.scores]
        iou = mean([level["iou"][node.name] for level in levels])
        found.append(Cell(iou, mean_and_spread([iou])))
    return found


def _difference_cells(tree: Tree, differences: Sequence[Difference]) -> list[Cell]:
    """Difference of each node to the baseline, with its interval; None if it has none."""
    known = {(one.level, one.class_name): one for one in differences}
    cells = []
    for node in tree.nodes:
        one = known.get((node.level, node.name))
        is_known = one is not None and math.isfinite(one.difference)
        cells.append(Cell(one.difference, _text(one)) if one and is_known else Cell(None, "-"))
    return cells


def _lines(tree: Tree, rows: Sequence[Sequence[Cell]]) -> Iterator[dict[str, Any]]:
    """Lines of the table: the classes in the order of the tree."""
    for index in tree.depth_first():
        node = tree.nodes[index]
        iou = [cells[index].text for cells in rows]
        yield {"text": tree.text(node), "level": node.level, "iou": iou}


def _wide(html: Markup) -> Markup:
    """A chart that scrolls where the screen is too narrow for its text."""
    return Markup('<div class="scroll"><div class="wide">{}</div></div>').format(html)


def _text(one: Difference) -> str:
    return f"{difference(one.difference)} {interval(one.interval)}"
