"""Random class trees, and their properties computed from the nested mapping alone."""

from itertools import count

import pytest
import torch
from hypothesis import strategies as st

from hieraseg import Hierarchy

Tree = dict[str, "Tree | None"]
Node = tuple[int, str]
"""Level (0 is level 1) and name; a chain has one node on each level."""

SEEDS = st.integers(0, 2**31 - 1)

cuda = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
"""Marks of a test that needs a CUDA device."""


@st.composite
def nested_trees(draw: st.DrawFn, max_levels: int = 4) -> Tree:
    """Class trees of 1 to `max_levels` levels, with several roots and uneven depth."""
    names = (f"class{number}" for number in count())

    def branch(levels: int) -> Tree:
        return {
            next(names): branch(levels - 1) if levels > 1 and draw(st.booleans()) else None
            for _ in range(draw(st.integers(1, 3)))
        }

    return branch(draw(st.integers(1, max_levels)))


def leaf_paths(tree: Tree) -> list[tuple[str, ...]]:
    """Names of all levels for each leaf. The name of a chain is repeated to the last level."""

    def walk(branch: Tree) -> list[tuple[str, ...]]:
        paths: list[tuple[str, ...]] = []
        for name, children in branch.items():
            paths += [(name, *rest) for rest in walk(children)] if children else [(name,)]
        return paths

    paths = walk(tree)
    levels = max(map(len, paths))
    return [path + (levels - len(path)) * (path[-1],) for path in paths]


def ancestors_of(tree: Tree) -> dict[Node, set[Node]]:
    """The ancestors of each node, including itself."""
    return {
        (level, path[level]): set(enumerate(path[: level + 1]))
        for path in leaf_paths(tree)
        for level in range(len(path))
    }


def descendants_of(tree: Tree) -> dict[Node, set[Node]]:
    """The descendants of each node, including itself."""
    ancestors = ancestors_of(tree)
    return {node: {below for below in ancestors if node in ancestors[below]} for node in ancestors}


def nodes_of(hierarchy: Hierarchy) -> list[Node]:
    """Nodes in the order of their indices in a hierarchy."""
    return [(level, name) for level, names in enumerate(hierarchy.level_names) for name in names]
