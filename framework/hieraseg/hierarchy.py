"""The class tree and its tensors."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int, Integer
from torch import Tensor

IGNORE_INDEX = -100

Tree = Mapping[str, Any] | Sequence[Any] | None
Path = tuple[str, ...]


class Tables(NamedTuple):
    """A hierarchy's tensors on one device (see `Hierarchy`).

    Attributes:
        labels: int64 `[L, values]`, class per level of each label value; void in the last column.
        parents: as in `Hierarchy`.
        paths: as in `Hierarchy`.
    """

    labels: Int[Tensor, "levels values"]
    parents: list[Int[Tensor, " C"]]
    paths: Int[Tensor, "leaves levels"]


class Hierarchy:
    """A class tree: level 1 is the coarsest, level L the finest.

    Every leaf is brought to level L: a class with no children above level L (a *chain*, such as
    background) has one node on each level below, under the same name. Index 0 of every list over
    levels is level 1. Nodes are counted level by level, coarsest first.

    Attributes:
        level_names: class names per level.
        num_classes: number of classes per level.
        parents: int64 `[C_l]` per level, the index of each class's parent on the level above;
            -1 on level 1.
        paths: int64 `[leaves, L]`, the class indices from level 1 down to each leaf.
        labels: the name of the node that each label value of a mask stands for.
        void: label values that are ignored on all levels.
        background: name of the class that scores leave out, or None.
    """

    def __init__(
        self,
        leaf_paths: Sequence[Path],
        labels: Mapping[int, str],
        void: Iterable[int] = (),
        background: str | None = None,
    ) -> None:
        depth = max(len(path) for path in leaf_paths)
        padded = [path + path[-1:] * (depth - len(path)) for path in leaf_paths]
        # Inner levels keep the order of the tree, leaves that of their labels: with labels
        # 0..n-1, as most data sets have them, a leaf's index is its label.
        self.level_names = [_unique(path[level] for path in padded) for level in range(depth)]
        first_label = {name: value for value, name in sorted(labels.items(), reverse=True)}
        padded.sort(key=lambda path: first_label.get(path[-1], sys.maxsize))
        self.level_names[-1] = [path[-1] for path in padded]
        index = [{name: i for i, name in enumerate(names)} for names in self.level_names]
        self.num_classes = [len(names) for names in self.level_names]
        self.paths: Int[Tensor, "leaves levels"] = torch.tensor(
            [[index[level][name] for level, name in enumerate(path)] for path in padded]
        )
        self.parents = [torch.full((self.num_classes[0],), -1)]
        for level in range(1, depth):
            parent = torch.empty(self.num_classes[level], dtype=torch.int64)
            parent[self.paths[:, level]] = self.paths[:, level - 1]
            self.parents.append(parent)
        self.labels = dict(sorted(labels.items()))
        self.void = tuple(sorted(set(void)))
        self.background = background
        self._check()
        self._tables: dict[torch.device, Tables] = {}

    @classmethod
    def from_tree(
        cls,
        tree: Tree,
        *,
        labels: Mapping[int, str] | Sequence[str] | None = None,
        void: Iterable[int] = (),
        background: str | None = None,
    ) -> "Hierarchy":
        """Build a hierarchy from nested mappings and lists of names.

        >>> h = Hierarchy.from_tree({"background": None, "body": {"upper": ["head", "arm"],
        ...                                                       "lower": ["leg"]}})
        >>> h.level_names
        [['background', 'body'], ['background', 'upper', 'lower'], \
['background', 'head', 'arm', 'leg']]

        Args:
            tree: mapping of a class to its children (a mapping, a list of names, or None), any
                depth, uneven depth, several roots.
            labels: the node's name for each label value, or a list of names for the values
                0, 1, ...; a label may name an inner node ("body, part unknown"). Leaves are
                ordered by their label values. Default: leaves in the order of the tree.
            void: label values that are ignored on all levels.
            background: name of the class that scores leave out.

        Raises:
            ValueError: an empty tree, a name that stands twice, a label for an unknown class.
        """
        paths = list(_leaf_paths(tree))
        if not paths:
            raise ValueError("the class tree is empty: give it at least one class")
        leaves = [path[-1] for path in paths]
        if labels is None:
            labels = leaves
        if not isinstance(labels, Mapping):
            labels = dict(enumerate(labels))
        return cls(paths, labels, void, background)

    @property
    def num_levels(self) -> int:
        """L, the number of levels."""
        return len(self.level_names)

    @cached_property
    def offsets(self) -> list[int]:
        """Index of the first node of each level."""
        return [sum(self.num_classes[:level]) for level in range(self.num_levels)]

    @cached_property
    def ancestors(self) -> Bool[Tensor, "nodes nodes"]:
        """`ancestors[v, u]`: u is v or one of v's ancestors."""
        result = torch.eye(sum(self.num_classes), dtype=torch.bool)
        for level in range(1, self.num_levels):
            below, above = self.offsets[level], self.offsets[level - 1]
            rows = slice(below, below + self.num_classes[level])
            result[rows] |= result[above + self.parents[level]]
        return result

    @cached_property
    def distances(self) -> Int[Tensor, "nodes nodes"]:
        """Tree distance of each pair of nodes in edges; roots meet in a virtual node above them."""
        shared = self.ancestors.float() @ self.ancestors.float().T
        depth = shared.diagonal()
        return (depth[:, None] + depth[None, :] - 2 * shared).long()

    def background_index(self, level: int) -> int | None:
        """Index of the background class on a level (0 is level 1), None where there is none."""
        names = self.level_names[level]
        return names.index(self.background) if self.background in names else None

    def on(self, device: torch.device) -> "Tables":
        """The tree's tensors on a device; copied there once."""
        if device not in self._tables:
            self._tables[device] = Tables(
                labels=self._label_table().to(device),
                parents=[parents.to(device) for parents in self.parents],
                paths=self.paths.to(device),
            )
        return self._tables[device]

    def encode(self, mask: Integer[Tensor, "*batch H W"]) -> Int[Tensor, "*batch levels H W"]:
        """Class index per level for each label value of a mask, by one table look-up.

        Args:
            mask: label values, any integer type; `[B, H, W]` or `[H, W]`.

        Returns:
            int64 `[B, L, H, W]` (or `[L, H, W]`); -100 below an inner node that a label names,
            and on all levels for void and for values that the label table does not know.
        """
        table = self.on(mask.device).labels
        # The last row is void; -1 means that row too, so one clamp catches both sides.
        values = mask.long().clamp(-1, table.shape[1] - 1)
        return table[:, values].movedim(0, -3)

    def _label_table(self) -> Int[Tensor, "levels values"]:
        # Void needs no column of its own: it is ignored as any value without a label is.
        values = max(self.labels, default=0) + 2
        table = torch.full((self.num_levels, values), IGNORE_INDEX)
        for value, name in self.labels.items():
            level = max(i for i, names in enumerate(self.level_names) if name in names)
            index = self.level_names[level].index(name)
            for above in range(level, -1, -1):
                table[above, value] = index
                index = int(self.parents[above][index])
        return table

    def _check(self) -> None:
        nodes = {name for names in self.level_names for name in names}
        for value, name in self.labels.items():
            if name not in nodes:
                raise ValueError(
                    f"label {value} names the class {name!r}, which is not in the tree; "
                    f"its classes are {', '.join(sorted(nodes))}"
                )
            if value < 0:
                raise ValueError(f"label {value} ({name}) is negative: label values start at 0")
        both = sorted(set(self.void) & set(self.labels))
        if both:
            raise ValueError(f"label {both[0]} is void and names a class: choose one")
        if self.background is not None and self.background not in self.level_names[-1]:
            raise ValueError(
                f"the background class {self.background!r} is no leaf of the tree; "
                f"its leaves are {', '.join(self.level_names[-1])}"
            )

    def __repr__(self) -> str:
        return f"Hierarchy(num_classes={self.num_classes}, labels={len(self.labels)})"


def _leaf_paths(tree: Tree) -> Iterator[Path]:
    """The names from a root down to each leaf, in the order of the tree."""
    seen: set[str] = set()

    def walk(branch: Any, above: Path) -> Iterator[Path]:
        items: Iterable[tuple[Any, Any]]
        if isinstance(branch, Mapping):
            items = branch.items()
        elif isinstance(branch, Sequence) and not isinstance(branch, str):
            items = (
                pair
                for item in branch
                for pair in (item.items() if isinstance(item, Mapping) else [(item, None)])
            )
        else:
            place = " > ".join(above) or "the tree"
            raise ValueError(f"{place}: expected a mapping or a list of names, got {branch!r}")
        for name, children in items:
            if not isinstance(name, str) or not name:
                place = " > ".join(above) or "the tree"
                raise ValueError(f"{place}: a class name must be a non-empty text, got {name!r}")
            if name in seen:
                raise ValueError(f"the class {name!r} stands twice in the tree: names are unique")
            seen.add(name)
            if children:
                yield from walk(children, (*above, name))
            else:
                yield (*above, name)

    yield from walk(tree, ())


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
