"""The class tree and its tensors."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

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
    mirror_images,
)

IGNORE_INDEX = -100

Tree = Mapping[str, Any] | Sequence[Any] | None


class Settings(TypedDict, total=False):
    """What a hierarchy needs beside the tree (see `Hierarchy.from_tree`)."""

    labels: Mapping[int, str] | Sequence[str] | None
    void: Iterable[int]
    background: str | None
    pairs: Iterable[Sequence[str]]


class Tables(NamedTuple):
    """A hierarchy's tensors on one device (see `Hierarchy`).

    Attributes:
        labels: int64 `[L, values]`, class per level of each label value; void in the last column.
        parents: as in `Hierarchy`.
        paths: as in `Hierarchy`.
        mirrored: as in `Hierarchy`.
        mirrored_labels: as in `Hierarchy`.
    """

    labels: Int[Tensor, "levels values"]
    parents: list[Int[Tensor, " C"]]
    paths: Int[Tensor, "leaves levels"]
    mirrored: list[Int[Tensor, " C"]]
    mirrored_labels: Int[Tensor, " values"]


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
        pairs: names of left and right classes, which a horizontal flip swaps.
        mirrored: int64 `[C_l]` per level, each class's index after a horizontal flip.
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
        images = mirror_images(pairs, padded, set(labels.values()))
        self.labels = {value: str(name) for value, name in sorted(labels.items())}
        self.void = tuple(sorted(void))
        self.background = None if background is None else str(background)
        self.pairs = [(str(left), str(right)) for left, right in pairs]
        # Inner levels keep the order of the tree, leaves that of their labels: with labels
        # 0..n-1, as most data sets have them, a leaf's index is its label.
        first_label = {name: value for value, name in reversed(self.labels.items())}
        self.level_names = [_unique(path[level] for path in padded) for level in range(depth)]
        self.level_names[-1].sort(key=lambda name: first_label.get(name, sys.maxsize))
        self._index_paths(padded)
        self._mirror(images, first_label)
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

    def _mirror(self, images: Mapping[str, str], first_label: Mapping[str, int]) -> None:
        self.mirrored = []
        for names in self.level_names:
            index = {name: i for i, name in enumerate(names)}
            self.mirrored.append(torch.tensor([index[images.get(name, name)] for name in names]))
        self.mirrored_labels = torch.arange(max(self.labels, default=-1) + 1)
        for value, name in self.labels.items():
            if name in images:
                self.mirrored_labels[value] = first_label[images[name]]

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
            tree: mapping of a class to its children (a mapping, a list of names, or None for a
                leaf), any depth, uneven depth, several roots.
            labels: the node's name for each label value, or a list of names for the values
                0, 1, ...; a label may name an inner node ("body, part unknown"), several may name
                one node, and a leaf may have none. Leaves are ordered by their first label.
                Default: leaves in the order of the tree.
            void: label values that are ignored on all levels.
            background: name of the class that scores leave out.
            pairs: names of left and right classes, on any level, which a horizontal flip swaps.
                Their children are paired too, so that a flipped tree is the same tree.

        Raises:
            ValueError: an empty tree or branch, a name that stands twice, a label for an unknown
                class, pairs with which a flip would leave the tree; one sentence.
        """
        paths = list(leaf_paths(tree))
        if isinstance(labels, str):
            raise ValueError(f"labels: expected a list of names, got the text {labels!r}")
        if labels is None:
            labels = [path[-1] for path in paths]
        if not isinstance(labels, Mapping):
            labels = dict(enumerate(labels))
        return cls(paths, labels, void, background, pairs)

    @classmethod
    def from_text(cls, text: str, **settings: Unpack[Settings]) -> "Hierarchy":
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
            text: one name per line, children indented deeper than their parent and alike.
            settings: `labels`, `void`, `background` and `pairs`, as in `from_tree`.

        Raises:
            ValueError: as in `from_tree`, or a wrong indent; one sentence with the line.
        """
        return cls.from_tree(tree_of_text(text), **settings)

    @classmethod
    def from_pairs(
        cls, edges: Iterable[Sequence[str | None]], /, **settings: Unpack[Settings]
    ) -> "Hierarchy":
        """Build a hierarchy from its edges, in any order.

        >>> Hierarchy.from_pairs([("head", "body"), ("body", None), ("sky", None)]).level_names
        [['body', 'sky'], ['head', 'sky']]

        Args:
            edges: a class and its parent, which is None or empty for a root; once per class.
            settings: as in `from_tree`.

        Raises:
            ValueError: as in `from_tree`, or a class with two parents, a parent that is missing
                among the classes, a cycle; one sentence.
        """
        return cls.from_tree(tree_of_pairs(edges), **settings)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "Hierarchy":
        """Build a hierarchy from a file, by its ending.

        `.yaml` or `.yml`: the mapping `tree`, and where wanted `labels`, `void`, `background` and
        `pairs`, as `from_tree` takes them, and `source`, a text for people. `.txt`: indented
        text, as `from_text` takes it. `.csv` or `.tsv`: a row per class with its name and that of
        its parent, which is empty for a root.

        Raises:
            ValueError: what is wrong with the file, in one sentence with its path and the line.
        """
        try:
            tree, settings = read_file(Path(path))
            return cls.from_tree(tree, **settings)
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
        """The tree as nested mappings, a leaf's value None; `from_tree` takes it back."""
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
                mirrored=[mirrored.to(device) for mirrored in self.mirrored],
                mirrored_labels=self.mirrored_labels.to(device),
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
        table = torch.full((self.num_levels, max(self.labels, default=0) + 2), IGNORE_INDEX)
        deepest = {
            name: (level, index)
            for level, names in enumerate(self.level_names)
            for index, name in enumerate(names)
        }
        values = torch.tensor(list(self.labels), dtype=torch.int64)
        nodes = torch.tensor([deepest[name] for name in self.labels.values()]).view(-1, 2)
        levels, classes = nodes.long().unbind(1)
        for level in reversed(range(self.num_levels)):
            known = levels >= level
            table[level, values[known]] = classes[known]
            classes = torch.where(known, self.parents[level][classes * known], classes)
        return table

    def __repr__(self) -> str:
        return f"Hierarchy(num_classes={self.num_classes}, labels={len(self.labels)})"


def _unique(names: Iterable[str]) -> list[str]:
    return [str(name) for name in dict.fromkeys(names)]
