"""Section: the class tree with the IoU of each class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from plotly import graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb

from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference
from hieraseg.comparison.rows import Row
from hieraseg.errors import HierasegError
from hieraseg.page.charts import chart, label
from hieraseg.page.panels import Panel, switched
from hieraseg.page.sections import Section, render
from hieraseg.runs.checkpoint import Metadata, read_metadata
from hieraseg.runs.folder import RunFolder

_LEAF = 22  # height in pixels
_DARK, _LIGHT = "#111111", "#ffffff"


@dataclass(frozen=True)
class Node:
    """A class on a level.

    Attributes:
        level: the level, from 1.
        name: its name. A chain has a node on each level.
        parent: index of the node above; None on level 1.
    """

    level: int
    name: str
    parent: int | None


@dataclass(frozen=True)
class Tree:
    """The nodes of a class tree, those above before those below.

    Attributes:
        nodes: the nodes.
        background: name of the class that is excluded from mIoU, or None.
    """

    nodes: list[Node]
    background: str | None

    def fits(self, row: Row) -> bool:
        """Whether a row has scores of these classes."""
        own = {(node.level, node.name) for node in self.nodes}
        return all(
            own == {(level["level"], name) for level in scores["levels"] for name in level["iou"]}
            for scores in row.scores
        )

    def text(self, node: Node) -> str:
        """Name of a node, and whether it is excluded."""
        return f"{node.name} (not in mIoU)" if node.name == self.background else node.name


def section(comparison: Comparison) -> Section:
    """The tree of each row, in the colors of its IoU or of its difference to the baseline."""
    tree = _find_tree(comparison.rows)
    if tree is None:
        return Section("tree", "Class tree", render("tree.html", tree=None))
    rows = [row for row in comparison.rows if tree.fits(row)]
    values = {row.title: _mean_iou(tree, row) for row in rows}
    html = render(
        "tree.html",
        tree=switched("tree", list(_panels(comparison, tree, values))),
        others=[row.title for row in comparison.rows if row not in rows],
        has_baseline=comparison.baseline is not None,
        titles=list(values),
        lines=[
            {
                "text": tree.text(node),
                "level": node.level,
                "values": [_number(found[index]) for found in values.values()],
            }
            for index, node in enumerate(tree.nodes)
        ],
    )
    return Section("tree", "Class tree", html)


def _find_tree(rows: Sequence[Row]) -> Tree | None:
    """The class tree of the first run whose checkpoint has one that fits its scores."""
    for row in rows:
        for run in row.runs:
            folder = RunFolder(run.path)
            try:
                tree = _tree(read_metadata(folder.checkpoint(run.scores["checkpoint"])))
            except (HierasegError, IndexError):
                continue
            if tree is not None and tree.fits(row):
                return tree
    return None


def _tree(metadata: Metadata) -> Tree | None:
    """The tree in the metadata of a checkpoint; None if it is of a version that had none."""
    parents = metadata.get("parents")
    if parents is None:
        return None
    nodes: list[Node] = []
    above = 0  # index of the first node of the level above
    for level, names in enumerate(metadata["classes"]):
        start = len(nodes)
        for name, parent in zip(names, parents[level], strict=False):
            nodes.append(Node(level + 1, name, above + parent if level else None))
        above = start
    return Tree(nodes, metadata.get("background"))


def _mean_iou(tree: Tree, row: Row) -> list[float | None]:
    """IoU of each node, as the mean over seeds; None for a class without a score."""
    found = []
    for node in tree.nodes:
        values = [scores["levels"][node.level - 1]["iou"][node.name] for scores in row.scores]
        known = [value for value in values if value is not None]
        found.append(float(np.mean(known)) if known else None)
    return found
