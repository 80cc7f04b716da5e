"""Rules of class trees, checked on names alone. Every violation is one sentence."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from textwrap import shorten
from typing import Any

from hieraseg.errors import did_you_mean

NamePath = tuple[str, ...]
PlainTree = dict[str, Any] | list[Any]

LARGEST_LABEL = 65_535
"""Masks have at most 16 bits."""


class Name(str):
    """String that knows the line on which it is written."""

    line: int

    def __new__(cls, text: str, line: int) -> "Name":
        name = super().__new__(cls, text)
        name.line = line
        return name


class TreeError(ValueError):
    """An invalid class tree.

    Args:
        problem: one sentence.
        name: class or key that the problem is about; if it is a `Name`, its line is reported.
        line: line of a problem without a name, from 1; 0 if there is none.
    """

    def __init__(self, problem: str, name: object = None, line: int = 0) -> None:
        self.problem = problem
        self.line = name.line if isinstance(name, Name) else line
        super().__init__(f"line {self.line}: {problem}" if self.line else problem)


def leaf_paths(tree: Any) -> Iterator[NamePath]:
    """Names from a root down to each leaf, in the order of the tree.

    Raises:
        TreeError: the tree or a branch is empty, or a name is duplicate or no string.
    """
    seen: dict[str, str] = {}
    # A stack instead of recursion, so that trees can have any depth.
    stack: list[tuple[NamePath, Any, Any]] = [((), *root) for root in reversed(_branch(tree, ()))]
    while stack:
        above, name, children = stack.pop()
        if not isinstance(name, str) or not name:
            raise TreeError(
                f"{_place(above)}: a class name must be a non-empty string, got {name!r}",
                name if isinstance(name, Name) else above[-1] if above else None,
            )
        if name in seen:
            raise TreeError(
                f"duplicate class {name!r}{first_line(seen[name])}; names must be unique", name
            )
        seen[name] = name
        path = (*above, name)
        if children is None:
            yield path
        else:
            stack += [(path, *child) for child in reversed(_branch(children, path))]


def _branch(branch: Any, path: NamePath) -> list[tuple[Any, Any]]:
    """Classes of a mapping or list, each with its children."""
    name = path[-1] if path else None
    if isinstance(branch, Mapping):
        classes = list(branch.items())
    elif isinstance(branch, Sequence) and not isinstance(branch, str):
        classes = [
            pair
            for item in branch
            for pair in (_branch(item, path) if isinstance(item, Mapping) else [(item, None)])
        ]
    else:
        raise TreeError(
            f"{_place(path)}: expected a mapping or a list of names, got {branch!r}", name
        )
    if not classes:
        fix = "add children, or use null (None) for a leaf" if path else "add at least one class"
        raise TreeError(f"{_place(path)} is empty; {fix}", name)
    return classes


def check_labels(labels: Mapping[int, str], void: Collection[int], names: Collection[str]) -> None:
    """Check the label values of classes, and the void values.

    Raises:
        TreeError: a label has an unknown class, or is void as well, or a value is no integer or
            does not fit into a mask.
    """
    for value, name in labels.items():
        if name not in names:
            is_void = name in ("void", "ignore")
            hint = f"list it as void: [{value}]" if is_void else _hint(name, names)
            raise TreeError(f"label {value}: unknown class {name!r}, {hint}", name)
        check_value(value, f"label {value} ({name})", name)
        if value in void:
            raise TreeError(f"label {value} is both void and {name!r}; remove one of them", name)
    for value in void:
        check_value(value, f"void {value}")


def check_value(value: object, place: str, name: object = None) -> None:
    """Check one label or void value of a mask.

    Args:
        value: the value.
        place: start of the message.
        name: class or key that the value belongs to (see `TreeError`).

    Raises:
        TreeError: it is no integer, or does not fit into a mask.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TreeError(f"{place}: must be an integer", name)
    if not 0 <= int(value) <= LARGEST_LABEL:
        raise TreeError(f"{place}: must be in [0, {LARGEST_LABEL}], as masks have 16 bits", name)


def check_background(background: str | None, leaves: Collection[str]) -> None:
    """Check the name of the background class.

    Raises:
        TreeError: it is not a leaf.
    """
    if background is not None and background not in leaves:
        raise TreeError(
            f"background: {background!r} is not a leaf of the tree, {_hint(background, leaves)}",
            background,
        )


def mirrored_names(
    pairs: Iterable[Sequence[str]], paths: Collection[NamePath], labeled: Collection[str]
) -> dict[str, str]:
    """Name of each paired class after a horizontal flip.

    Args:
        pairs: left and right classes.
        paths: names of all L levels for each leaf.
        labeled: classes that have a label value.

    Raises:
        TreeError: a pair is invalid, or flipped classes are not in the tree or have no label.
    """
    names = {name: None for path in paths for name in path}
    mirrored: dict[str, str] = {}
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
            raise TreeError(
                f"pairs: expected two different classes, got {pair!r}", next(iter(pair), None)
            )
        for name, other in (pair, pair[::-1]):
            if name not in names:
                raise TreeError(f"pairs: unknown class {name!r}, {_hint(name, names)}", name)
            if name in mirrored:
                raise TreeError(f"pairs: {name!r} is in two pairs; keep one", name)
            mirrored[name] = other
    _check_flip(mirrored, paths, labeled)
    return mirrored


def _check_flip(
    mirrored: Mapping[str, str], paths: Collection[NamePath], labeled: Collection[str]
) -> None:
    known = set(paths)
    for path in paths:
        flipped = tuple(mirrored.get(name, name) for name in path)
        if flipped not in known:
            raise TreeError(
                f"pairs: a flip turns {_place(path)!r} into {_place(flipped)!r}, which is not in "
                "the tree; pair the classes above and below too",
                next(mirrored[mirrored[name]] for name in path if name in mirrored),
            )
    for name, other in mirrored.items():
        if name in labeled and other not in labeled:
            raise TreeError(
                f"pairs: a flip turns {name!r} into {other!r}, which has no label; label both or "
                "remove the pair",
                name,
            )


def first_line(name: object) -> str:
    """Line of the first use of a name, as part of an error message."""
    return f" (first on line {name.line})" if isinstance(name, Name) else ""


def _place(path: NamePath) -> str:
    return " > ".join(dict.fromkeys(path)) or "the tree"


def _hint(name: object, known: Collection[str]) -> str:
    """The closest known name, or all of them, shortened if there are many."""
    return shorten(did_you_mean(str(name), known), 300, placeholder=" ...")
