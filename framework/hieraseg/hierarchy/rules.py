"""The rules of a class tree, checked on its names alone: each is broken in one sentence."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from textwrap import shorten
from typing import Any

from hieraseg.errors import did_you_mean

NamePath = tuple[str, ...]

LARGEST_LABEL = 65_535
"""Masks have at most 16 bits."""


class Name(str):
    """A name that knows the line it was written on."""

    line: int

    def __new__(cls, text: str, line: int) -> "Name":
        name = super().__new__(cls, text)
        name.line = line
        return name


class TreeError(ValueError):
    """What is wrong with a class tree.

    Args:
        problem: one sentence.
        name: what it is about, which tells the line if it was read from a text.
        line: the line, where no name tells it.
    """

    def __init__(self, problem: str, name: object = None, line: int = 0) -> None:
        self.problem = problem
        self.line = name.line if isinstance(name, Name) else line
        super().__init__(f"line {self.line}: {problem}" if self.line else problem)


def leaf_paths(tree: Any) -> Iterator[NamePath]:
    """The names from a root down to each leaf, in the order of the tree.

    Raises:
        TreeError: no tree, an empty branch, a name that is no text or stands twice.
    """
    seen: dict[str, str] = {}
    todo: list[tuple[NamePath, Any, Any]] = [((), *root) for root in reversed(_branch(tree, ()))]
    while todo:
        above, name, children = todo.pop()
        if not isinstance(name, str) or not name:
            raise TreeError(
                f"{_place(above)}: a class name must be a non-empty text, got {name!r}",
                name if isinstance(name, Name) else above[-1] if above else None,
            )
        if name in seen:
            raise TreeError(
                f"the class {name!r} stands twice in the tree{first_line(seen[name])}: "
                "names are unique",
                name,
            )
        seen[name] = name
        path = (*above, name)
        if children is None:
            yield path
        else:
            todo += [(path, *child) for child in reversed(_branch(children, path))]


def _branch(branch: Any, path: NamePath) -> list[tuple[Any, Any]]:
    """The classes of a mapping or list, each with what lies below it."""
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
        fix = "children, or null (None) if it is a leaf" if path else "at least one class"
        raise TreeError(f"{_place(path)} is empty: give it {fix}", name)
    return classes


def check_labels(labels: Mapping[int, str], void: Collection[int], names: Collection[str]) -> None:
    """Refuse label values that name no class, lie out of range or are void as well."""
    for value, name in labels.items():
        if name not in names:
            raise TreeError(
                f"label {value} names the class {name!r}, which is not in the tree; "
                f"{_hint(name, names)}",
                name,
            )
        if value < 0:
            raise TreeError(f"label {value} ({name}) is negative: label values start at 0", name)
        if value > LARGEST_LABEL:
            raise TreeError(
                f"label {value} ({name}) is too large: label values end at {LARGEST_LABEL}", name
            )
        if value in void:
            raise TreeError(f"label {value} is void and names a class: choose one", name)


def check_background(background: str | None, leaves: Collection[str]) -> None:
    """Refuse a background that is no leaf."""
    if background is not None and background not in leaves:
        raise TreeError(
            f"the background class {background!r} is no leaf of the tree; "
            f"{_hint(background, leaves)}",
            background,
        )


def mirror_images(
    pairs: Iterable[Sequence[str]], paths: Collection[NamePath], labelled: Collection[str]
) -> dict[str, str]:
    """Each paired class's counterpart.

    Args:
        pairs: left and right classes.
        paths: from level 1 down to each leaf, all of L names.
        labelled: the classes that labels name.

    Raises:
        TreeError: a pair that is none, or a tree or labels that change in a flip.
    """
    names = {name: None for path in paths for name in path}
    images: dict[str, str] = {}
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
            raise TreeError(f"pairs: expected two classes, got {pair!r}", next(iter(pair), None))
        for name, image in (pair, pair[::-1]):
            if name not in names:
                raise TreeError(f"pairs: {name!r} is not in the tree; {_hint(name, names)}", name)
            if name in images:
                raise TreeError(f"pairs: {name!r} stands in two pairs: keep one", name)
            images[name] = image
    known = set(paths)
    for path in paths:
        image_path = tuple(images.get(name, name) for name in path)
        if image_path not in known:
            raise TreeError(
                f"pairs: a flip makes {_place(path)!r} to {_place(image_path)!r}, which the tree "
                "does not have: pair the classes above and below too",
                next(images[images[name]] for name in path if name in images),
            )
    for name, image in images.items():
        if name in labelled and image not in labelled:
            raise TreeError(
                f"pairs: a flip makes {name!r} to {image!r}, but labels name only the first: "
                "label both or drop the pair",
                name,
            )
    return images


def first_line(name: object) -> str:
    """Where a name stood before, to be put into a sentence."""
    return f" (first on line {name.line})" if isinstance(name, Name) else ""


def _place(path: NamePath) -> str:
    return " > ".join(dict.fromkeys(path)) or "the tree"


def _hint(name: object, known: Collection[str]) -> str:
    """The closest name or all of them, cut off where there are thousands."""
    return shorten(did_you_mean(str(name), known), 300, placeholder=" ...")
