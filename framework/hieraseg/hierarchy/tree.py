"""The class tree of a data set."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from jaxtyping import Bool, Int, Integer
from torch import Tensor

from hieraseg.hierarchy.files import read_file, tree_of_pairs, tree_of_text
from hieraseg.hierarchy.rules import (
    NamePath,
    TreeError,
    check_background,
    check_labels,
    leaf_paths,
    mirrored_names,
)
from hieraseg.hierarchy.tables import Tables, known_table, label_table

Tree = Mapping[str, Any] | Sequence[Any] | None


class Options(TypedDict, total=False):
    """Options of `Hierarchy.from_tree`."""

    labels: Mapping[int, str] | Sequence[str] | None
    void: Iterable[int]
    background: str | None
    pairs: Iterable[Sequence[str]]


class Hierarchy:
    """A class tree of L levels: level 1 is the coarsest, level L the finest.

    A class without children above level L (a *chain*, such as background) is repeated on each
    level below, so that every leaf is on level L. Lists over levels start with level 1. Nodes are
    numbered level by level, from the coarsest.

    Attributes:
        level_names: class names per level.
        num_classes: number of classes per level.
        parents: int64 `[C_l]` per level, index of each class's parent on the level above; -1 on
            level 1.
        paths: int64 `[leaves, L]`, class indices from level 1 down to each leaf.
        labels: class name of each label value of a mask.
        void: label values that are ignored on all levels.
        background: name of the class that is excluded from scores, or None.
        pairs: names of left and right classes, which a horizontal flip swaps.
        mirrored: int64 `[C_l]` per level, index of each class after a horizontal flip.
        mirrored_labels: int64 `[values]`, each label value after a horizontal flip.
    """

    def __init__(
        self,
        paths: Sequence[NamePath],
        labels: Mapping[int, str],
        void: Iterable[int] = (),
        background: str | None = None,
        pairs: Iterable[Sequence[str]] = (),
    ) -> None:
        depth = max(len(path) for path in paths)
        padded = [path + path[-1:] * (depth - len(path)) for path in paths]
        pairs, void = list(pairs), set(void)
        check_labels(labels, void, {name: None for path in paths for name in path})
        check_background(background, [path[-1] for path in paths])
        mirrored = mirrored_names(pairs, padded, set(labels.values()))
        self.labels = {int(value): str(name) for value, name in sorted(labels.items())}
        self.void = tuple(sorted(map(int, void)))
        self.background = None if background is None else str(background)
        self.pairs = [(str(left), str(right)) for left, right in pairs]
        # Inner levels keep the order of the tree. Leaves are sorted by label, so that with the
        # labels 0..n-1 of most data sets the index of a leaf is its label.
        first_label = {name: value for value, name in reversed(self.labels.items())}
        self.level_names = [_unique(path[level] for path in padded) for level in range(depth)]
        self.level_names[-1].sort(key=lambda name: first_label.get(name, sys.maxsize))
        self._index_paths(padded)
        self._index_mirrored(mirrored, first_label)
        self._tables: dict[torch.device, Tables] = {}

    def _index_paths(self, padded: Sequence[NamePath]) -> None:
        index = [{name: i for i, name in enumerate(names)} for names in self.level_names]
        paths = [[index[level][name] for level, name in enumerate(path)] for path in padded]
        paths.sort(key=lambda path: path[-1])
        self.num_classes = [len(names) for names in self.level_names]
        self.paths: Int[Tensor, "leaves levels"] = torch.tensor(paths)
        self.parents = [torch.full((self.num_classes[0],), -1)]
        for level in range(1, len(index)):
            parent = torch.empty(self.num_classes[level], dtype=torch.int64)
            parent[self.paths[:, level]] = self.paths[:, level - 1]
            self.parents.append(parent)

    def _index_mirrored(self, mirrored: Mapping[str, str], first_label: Mapping[str, int]) -> None:
        self.mirrored = []
        for names in self.level_names:
            index = {name: i for i, name in enumerate(names)}
            self.mirrored.append(torch.tensor([index[mirrored.get(name, name)] for name in names]))
        self.mirrored_labels = torch.arange(max(self.labels, default=-1) + 1)
        for value, name in self.labels.items():
            if name in mirrored:
                self.mirrored_labels[value] = first_label[mirrored[name]]

    @classmethod
    def from_tree(
        cls,
        tree: Tree,
        *,
        labels: Mapping[int, str] | Sequence[str] | None = None,
        void: Iterable[int] = (),
        background: str | None = None,
        pairs: Iterable[Sequence[str]] = (),
    ) -> "Hierarchy":
        """Build a hierarchy from nested mappings and lists of names.

        >>> h = Hierarchy.from_tree({"background": None, "body": {"upper": ["head", "arm"],
        ...                                                       "lower": ["leg"]}})
        >>> h.level_names
        [['background', 'body'], ['background', 'upper', 'lower'], \
['background', 'head', 'arm', 'leg']]

        Args:
            tree: classes and their children. Children are a mapping, a list of names, or None for
                a leaf. The tree can have any depth, uneven depth and several roots.
            labels: class name of each label value, or a list of names for the values 0, 1, ... A
                label can name an inner class ("body, part unknown"), several labels can name one
                class, and a leaf can have none. Leaves are sorted by their first label. Default:
                one label per leaf, in the order of the tree.
            void: label values that are ignored on all levels.
            background: name of the leaf that is excluded from scores.
            pairs: names of left and right classes, on any level, which a horizontal flip swaps.
                Their children must be paired too, so that the flipped tree is the same tree.

        Raises:
            ValueError: the tree or a branch is empty, a name is duplicate, a label or a pair names
                an unknown class, or the flipped tree is not the same tree.
        """
        paths = list(leaf_paths(tree))
        if isinstance(labels, str):
            raise ValueError(f"labels: expected a list of names, got the string {labels!r}")
        if labels is None:
            labels = [path[-1] for path in paths]
        if not isinstance(labels, Mapping):
            labels = dict(enumerate(labels))
        return cls(paths, labels, void, background, pairs)

    @classmethod
    def from_text(cls, text: str, **options: Unpack[Options]) -> "Hierarchy":
        """Build a hierarchy from indented text.

        >>> h = Hierarchy.from_text('''
        ... background
        ... body            # a comment
        ...     left hand
        ...     right hand
        ... ''', pairs=[("left hand", "right hand")])
        >>> h.mirrored[1]
        tensor([0, 2, 1])

        Args:
            text: one name per line. Children are indented deeper than their parent, siblings
                equally. Comments start with `#`.
            options: `labels`, `void`, `background` and `pairs`, as in `from_tree`.

        Raises:
            ValueError: as in `from_tree`, or the indentation is inconsistent. The message has the
                line.
        """
        return cls.from_tree(tree_of_text(text), **options)

    @classmethod
    def from_pairs(
        cls, edges: Iterable[Sequence[str | None]], /, **options: Unpack[Options]
    ) -> "Hierarchy":
        """Build a hierarchy from pairs of a child and its parent.

        >>> Hierarchy.from_pairs([("head", "body"), ("body", None), ("sky", None)]).level_names
        [['body', 'sky'], ['head', 'sky']]

        Args:
            edges: one `(class, parent)` pair per class, in any order. The parent of a root is None
                or empty.
            options: `labels`, `void`, `background` and `pairs`, as in `from_tree`.

        Raises:
            ValueError: as in `from_tree`, or a class has two parents, a parent is missing, or
                there is a cycle.
        """
        return cls.from_tree(tree_of_pairs(edges), **options)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "Hierarchy":
        """Build a hierarchy from a file. The suffix decides its format.

        - `.yaml`, `.yml`: a mapping with the key `tree`, and optionally `labels`, `void`,
          `background` and `pairs`, all as in `from_tree`, and `source`, a string for readers.
        - `.txt`: indented text, as in `from_text`.
        - `.csv`, `.tsv`: one row per class with its name and that of its parent, which is empty
          for a root.

        Raises:
            ValueError: the file cannot be read or is invalid. The message is one sentence that
                starts with the path and the line.
        """
        try:
            tree, options = read_file(Path(path))
            return cls.from_tree(tree, **options)
        except TreeError as error:
            place = f"{path}:{error.line}" if error.line else path
            raise ValueError(f"{place}: {error.problem}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def num_levels(self) -> int:
        """L, the number of levels."""
        return len(self.level_names)

    @property
    def tree(self) -> dict[str, Any]:
        """The tree as nested mappings, with None for leaves, as `from_tree` accepts it."""
        tree: dict[str, Any] = {}
        for path in sorted(self.paths.tolist()):
            branch = tree
            *above, leaf = _unique(self.level_names[level][i] for level, i in enumerate(path))
            for name in above:
                branch = branch.setdefault(name, {})
            branch[leaf] = None
        return tree

    @cached_property
    def offsets(self) -> list[int]:
        """Index of the first node of each level."""
        return [sum(self.num_classes[:level]) for level in range(self.num_levels)]

    @cached_property
    def ancestors(self) -> Bool[Tensor, "nodes nodes"]:
        """`ancestors[v, u]` is whether node u is an ancestor of node v, or v itself."""
        result = torch.eye(sum(self.num_classes), dtype=torch.bool)
        for level in range(1, self.num_levels):
            below, above = self.offsets[level], self.offsets[level - 1]
            rows = slice(below, below + self.num_classes[level])
            result[rows] |= result[above + self.parents[level]]
        return result

    @cached_property
    def _ancestor_per_level(self) -> Int[Tensor, "nodes levels"]:
        """Ancestor of each node on each level, itself included; -1 on the levels below it."""
        result = torch.full((sum(self.num_classes), self.num_levels), -1)
        for level, offset in enumerate(self.offsets):
            rows = slice(offset, offset + self.num_classes[level])
            if level:
                result[rows] = result[self.offsets[level - 1] + self.parents[level]]
            result[rows, level] = torch.arange(offset, rows.stop)
        return result

    @cached_property
    def distances(self) -> Int[Tensor, "nodes nodes"]:
        """Number of edges between all pairs of nodes; use `distance` for some of them only."""
        nodes = torch.arange(sum(self.num_classes))
        return self.distance(nodes[:, None], nodes)

    def distance(
        self, one: Int[Tensor, "*shape"], other: Int[Tensor, "*other_shape"]
    ) -> Int[Tensor, "*result"]:
        """Number of edges between two nodes. All roots have a virtual node as their parent.

        >>> h = Hierarchy.from_tree({"body": ["head", "arm"], "sky": None})
        >>> head, arm, sky = h.offsets[1] + torch.arange(3)
        >>> h.distance(head, torch.stack([head, arm, sky]))
        tensor([0, 2, 4])

        Args:
            one: numbers of nodes, of any shape.
            other: numbers of nodes, of a shape that broadcasts with that of `one`.

        Returns:
            int64, of the common shape. Time and memory are linear in its size.
        """
        table = self._ancestor_per_level.to(one.device)
        depth = (table >= 0).sum(1, dtype=torch.int16)  # small, for the distances of all pairs
        result = depth[one] + depth[other]
        for ancestors in table.unbind(1):
            own = ancestors[one]
            result -= ((own == ancestors[other]) & (own >= 0)).to(result.dtype) * 2
        return result.long()

    def background_index(self, level: int) -> int | None:
        """Index of the background class on a level, or None.

        Args:
            level: index of the level; 0 is level 1.
        """
        names = self.level_names[level]
        return names.index(self.background) if self.background in names else None

    def on(self, device: torch.device) -> Tables:
        """Tensors of the tree on a device. They are copied on the first call."""
        if device not in self._tables:
            self._tables[device] = Tables(
                labels=label_table(self.labels, self.level_names, self.parents).to(device),
                known=known_table([*self.labels, *self.void]).to(device),
                parents=[parents.to(device) for parents in self.parents],
                paths=self.paths.to(device),
                mirrored=[mirrored.to(device) for mirrored in self.mirrored],
                mirrored_labels=self.mirrored_labels.to(device),
            )
        return self._tables[device]

    @property
    def largest_value(self) -> int:
        """The highest label or void value of a mask; 0 if there is none."""
        return max([*self.labels, *self.void], default=0)

    @cached_property
    def void_value(self) -> int:
        """Value of pixels without any label in batches: the first of `void`, or a free value."""
        taken = {*self.labels, *self.void}
        return self.void[0] if self.void else next(one for one in count() if one not in taken)

    def encode(
        self, mask: Integer[Tensor, "*batch H W"], check: bool = True
    ) -> Int[Tensor, "*batch levels H W"]:
        """Convert a mask of label values to class indices per level.

        Args:
            mask: integer tensor `[B, H, W]` or `[H, W]` of label values.
            check: whether to refuse values that are neither a label nor void. If False, they are
                ignored like void, and nothing is read back from the device.

        Returns:
            int64 `[B, L, H, W]` or `[L, H, W]`. Indices are -100 on the levels below an inner
            class that a label names, and on all levels for void.

        Raises:
            ValueError: the mask has unknown values.
        """
        tables = self.on(mask.device)
        values = mask.long()
        if check:
            self._check_known(values, tables.known)
        # The last column is ignored. Index -1 is that column too, so one clamp is enough.
        return tables.labels[:, values.clamp(-1, tables.labels.shape[1] - 1)].movedim(0, -3)

    def _check_known(
        self, values: Int[Tensor, "*batch H W"], known: Bool[Tensor, " values"]
    ) -> None:
        unknown = values[~known[values.clamp(-1, len(known) - 1)]]
        if len(unknown):
            found = unknown.unique().tolist()
            listed = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
            raise ValueError(
                f"the mask has values that are neither labels nor void of the hierarchy: {listed}, "
                f"in {len(unknown):,} of {values.numel():,} pixels; fix the mask, or add them to "
                "`labels` or `void`"
            )

    def __repr__(self) -> str:
        return f"Hierarchy(num_classes={self.num_classes}, labels={len(self.labels)})"


def _unique(names: Iterable[str]) -> list[str]:
    return [str(name) for name in dict.fromkeys(names)]
