"""Weights of another run or file, as far as they fit a model.

The weights of a class are found by its name, since trees of the same size may have other classes.
Which tensors belong to classes shows a probe: the same model for a tree with other numbers of
classes, where these tensors have other sizes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from hieraseg.hierarchy import Hierarchy
from hieraseg.model.weights import BATCH_COUNTER, Weights, difference

Classes = Sequence[Sequence[str]]
"""Class names of each level that has logits, coarsest first."""

Levels = tuple[int, ...]
"""Levels, from 0, whose classes are the rows of a tensor one after the other; () if its size
depends on the classes in any other way."""

_PRIMES = (7, 11, 19, 41, 79, 163, 331, 653, 1307, 2617)  # each exceeds the sum of those before


@dataclass
class Transfer:
    """What of some weights fits a model.

    Attributes:
        weights: values of the model's tensors.
        missing: tensors of the model that the weights do not have.
        unused: tensors of the weights that the model does not have.
        reshaped: tensors of another shape or type, with both.
        other_classes: tensors of which not all classes are in the weights.
        kept: names of the classes with weights of their own, by level.
    """

    weights: Weights = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    other_classes: list[str] = field(default_factory=list)
    kept: dict[int, set[str]] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """One phrase for each kind of tensors that do not fit, with the first few names."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unused,
            "of another shape or type": self.reshaped,
            "of other classes": self.other_classes,
        }
        return [
            f"{len(names)} {what} ({shortened(names)})" for what, names in kinds.items() if names
        ]


def transfer(
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    levels: Mapping[str, Levels],
    classes: Classes,
    given_classes: Classes,
) -> Transfer:
    """What of some weights fits a model.

    Args:
        own: tensors of the model by name.
        weights: the weights.
        levels: those tensors of the model that depend on its classes (see `class_levels`), unless
            the weights are known to be those of the same classes.
        classes: classes of the model.
        given_classes: classes of the weights.
    """
    result = Transfer(unused=[name for name in weights if name not in own])
    for name, tensor in own.items():
        given = weights.get(name)
        if given is None:
            if not name.endswith(BATCH_COUNTER):
                result.missing.append(name)
        elif name in levels:
            _transfer_rows(result, name, tensor, given, levels[name], classes, given_classes)
        elif text := difference(given, tensor):
            result.reshaped.append(f"{name}, {text}")
        else:
            result.weights[name] = given
    return result


def _transfer_rows(
    result: Transfer,
    name: str,
    own: Tensor,
    given: Tensor,
    levels: Levels,
    classes: Classes,
    given_classes: Classes,
) -> None:
    """Keep the rows of a tensor whose classes the weights have."""
    rows = {one: row for row, one in enumerate(_rows(levels, given, classes, given_classes))}
    wanted = [(level, one) for level in levels for one in classes[level]]
    is_row = given.shape[1:] == own.shape[1:] and given.is_floating_point()
    found = [one for one in wanted if one in rows and is_row]
    if not (found and len(found) == len(wanted) == len(rows)):
        result.other_classes.append(name)
    if not found:
        return
    merged = own.detach().clone()
    for row, one in enumerate(wanted):
        if one in rows:
            merged[row] = given[rows[one]]
            result.kept.setdefault(one[0], set()).add(one[1])
    result.weights[name] = merged


def _rows(
    levels: Levels, given: Tensor, classes: Classes, given_classes: Classes
) -> list[tuple[int, str]]:
    """Level of the model, and class, of each row of a given tensor; empty if they are not known."""
    size = given.shape[0] if given.ndim else 0
    if len(classes) == len(given_classes):
        rows = [(level, one) for level in levels for one in given_classes[level]]
        return rows if len(rows) == size else []
    same = [names for names in given_classes if len(names) == size]
    # A single head is that of the leaves, and has the name that the head of level 1 has elsewhere.
    is_single = 1 in (len(classes), len(given_classes))
    if len(levels) == 1 and len(same) == 1 and not is_single:
        return [(levels[0], one) for one in same[0]]
    return []


def class_levels(
    own: Mapping[str, Tensor],
    probe: Mapping[str, Tensor],
    sizes: Sequence[int],
    probe_sizes: Sequence[int],
) -> dict[str, Levels]:
    """The tensors of a model that depend on its classes, with the levels of these.

    Args:
        own: tensors of the model by name.
        probe: those of the same model for other numbers of classes (see `probe_tree`).
        sizes: number of classes of each level that has logits.
        probe_sizes: those of the probe.
    """
    every = tuple(range(len(sizes)))
    rows: dict[tuple[int, int], Levels] = {
        (sizes[level], probe_sizes[level]): (level,) for level in every
    }
    rows[sum(sizes), sum(probe_sizes)] = every
    # Modules of single classes, of which the probe has more.
    numbered = {_without_numbers(name) for name in probe if name not in own}
    found: dict[str, Levels] = {}
    for name, tensor in own.items():
        other = probe.get(name)
        if other is None or _without_numbers(name) in numbered:
            found[name] = ()
        elif tensor.shape != other.shape:
            only_rows = tensor.ndim and tensor.shape[1:] == other.shape[1:]
            # Tensors of integers are tables of the tree.
            is_learned = bool(only_rows) and tensor.is_floating_point()
            found[name] = rows.get((tensor.shape[0], other.shape[0]), ()) if is_learned else ()
    return found


def probe_tree(hierarchy: Hierarchy) -> Hierarchy:
    """A tree with as many levels, each of which has a number of classes that tells it apart.

    The numbers of classes differ from those of the given tree, and no difference is a multiple or
    a sum of others, so that no other size of a tensor looks like that of a level.

    Raises:
        ValueError: the tree has more than ten levels.
    """
    more = _PRIMES[: hierarchy.num_levels]
    sizes = [size + one for size, one in zip(hierarchy.num_classes, more, strict=True)]
    paths = [
        tuple(f"{level}.{min(leaf, size - 1)}" for level, size in enumerate(sizes))
        for leaf in range(sizes[-1])
    ]
    if hierarchy.background is not None:
        paths[0] = (hierarchy.background,)
    labels = {leaf: path[-1] for leaf, path in enumerate(paths)}
    return Hierarchy(paths, labels, background=hierarchy.background)


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "0", name)


def shortened(names: Sequence[str], shown: int = 3) -> str:
    """The first few of some names."""
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
