"""The class tree of a comparison, as a checkpoint of one of its runs has it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hieraseg.comparison.rows import Row
from hieraseg.errors import HierasegError
from hieraseg.runs.checkpoint import Metadata, read_metadata
from hieraseg.runs.folder import RunFolder


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
    """A class tree.

    Attributes:
        nodes: its nodes, level by level, from the coarsest.
        background: name of the class that is excluded from mIoU, or None.
    """

    nodes: list[Node]
    background: str | None

    @property
    def levels(self) -> int:
        """Number of levels."""
        return max((node.level for node in self.nodes), default=0)

    def fits(self, row: Row) -> bool:
        """Whether a row has scores of exactly these classes."""
        own = {(node.level, node.name) for node in self.nodes}
        return all(
            own == {(level["level"], name) for level in scores["levels"] for name in level["iou"]}
            for scores in row.scores
        )

    def depth_first(self, parent: int | None = None) -> Iterator[int]:
        """Indices of the nodes, each before its children."""
        for index, node in enumerate(self.nodes):
            if node.parent == parent:
                yield index
                yield from self.depth_first(index)

    def is_excluded(self, node: Node) -> bool:
        """Whether a node does not count for mIoU."""
        return node.name == self.background

    def text(self, node: Node) -> str:
        """Name of a node, and whether it is excluded."""
        return f"{node.name} (not in mIoU)" if self.is_excluded(node) else node.name


def find_tree(rows: Sequence[Row]) -> Tree | None:
    """The tree of the first run whose checkpoint has one that fits its scores, if there is any."""
    for row in rows:
        for run in row.runs:
            checkpoint = RunFolder(run.path).checkpoint(run.scores["checkpoint"])
            try:
                tree = _tree(read_metadata(checkpoint))
            except HierasegError:
                continue
            if tree.fits(row):
                return tree
    return None


def _tree(metadata: Metadata) -> Tree:
    """The tree in the metadata of a checkpoint; without nodes if older versions left it out."""
    nodes: list[Node] = []
    starts: list[int] = []  # index of the first node of each level
    parents = metadata.get("parents", [])
    for level, (names, above) in enumerate(zip(metadata["classes"], parents, strict=False)):
        starts.append(len(nodes))
        for name, parent in zip(names, above, strict=False):
            nodes.append(Node(level + 1, name, starts[level - 1] + parent if level else None))
    return Tree(nodes, metadata.get("background"))
