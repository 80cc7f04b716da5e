"""Tensors of a class tree on one device."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

IGNORE_INDEX = -100
"""Class index of pixels that losses and metrics ignore."""

VOID = 65_535
"""Value by which a data set says that a pixel has no label, whatever the tree calls void."""


class Tables(NamedTuple):
    """Tensors of a hierarchy on one device (see `Hierarchy`).

    Attributes:
        labels: int64 `[L, values]`, class index per level of each label value; see `label_table`.
        known: bool `[values]`, whether each value is a label or void; False in the last column,
            which stands for all larger and for negative values.
        parents: as in `Hierarchy`.
        paths: as in `Hierarchy`.
        mirrored: as in `Hierarchy`.
        mirrored_labels: as in `Hierarchy`.
    """

    labels: Int[Tensor, "levels values"]
    known: Bool[Tensor, " values_and_void"]
    parents: list[Int[Tensor, " C"]]
    paths: Int[Tensor, "leaves levels"]
    mirrored: list[Int[Tensor, " C"]]
    mirrored_labels: Int[Tensor, " values"]


def label_table(
    labels: Mapping[int, str],
    level_names: Sequence[Sequence[str]],
    parents: Sequence[Int[Tensor, " _"]],
) -> Int[Tensor, "levels values"]:
    """Class index per level of each label value.

    Args:
        labels: class name of each label value.
        level_names: class names per level.
        parents: parent of each class per level.

    Returns:
        int64 `[L, values]`, -100 on the levels below the class of a label, and for values without
        a label. The last column is such a value: void values are looked up there.
    """
    table = torch.full((len(level_names), max(labels, default=0) + 2), IGNORE_INDEX)
    deepest = {
        name: (level, index)
        for level, names in enumerate(level_names)
        for index, name in enumerate(names)
    }
    values = torch.tensor(list(labels), dtype=torch.int64)
    nodes = torch.tensor([deepest[name] for name in labels.values()]).view(-1, 2)
    levels, classes = nodes.long().unbind(1)
    for level in reversed(range(len(level_names))):
        known = levels >= level
        table[level, values[known]] = classes[known]
        classes = torch.where(known, parents[level][classes * known], classes)
    return table


def known_table(values: Iterable[int]) -> Bool[Tensor, " values"]:
    """Whether each value from 0 to one above the highest is among the values."""
    listed = torch.tensor(list(values), dtype=torch.int64)
    table = torch.zeros(int(listed.max()) + 2 if len(listed) else 1, dtype=torch.bool)
    table[listed] = True
    return table
