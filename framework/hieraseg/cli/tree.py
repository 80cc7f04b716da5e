"""A class tree, drawn with what its nodes stand for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy

_DRAWN_LEVELS = 100


def as_dict(build: Callable[[], Hierarchy], place: str) -> dict[str, Any]:
    """The class tree that a component or a file makes, in plain values.

    Raises:
        RecipeError: it makes none; `place` says what it is.
    """
    try:
        hierarchy = build()
    except ValueError as error:
        raise RecipeError(f"{place}: {error}") from error
    if not isinstance(hierarchy, Hierarchy):
        raise RecipeError(f"{place}: made no Hierarchy, but {hierarchy!r}")
    if hierarchy.num_levels > _DRAWN_LEVELS:
        raise RecipeError(
            f"{place}: has {hierarchy.num_levels} levels, but at most {_DRAWN_LEVELS} can be drawn"
        )
    return {
        "num_classes": hierarchy.num_classes,
        "tree": hierarchy.tree,
        "labels": hierarchy.labels,
        "void": list(hierarchy.void),
        "background": hierarchy.background,
        "pairs": [list(pair) for pair in hierarchy.pairs],
    }


def of_file(path: Path) -> dict[str, Any]:
    """The class tree of a file, in plain values.

    Raises:
        RecipeError: the file has a problem.
    """
    return as_dict(lambda: Hierarchy.from_file(path), "hierarchy")


def as_text(about: dict[str, Any]) -> str:
    """What `as_dict` tells, to be read by people: a class per line, with its labels."""
    counts = " / ".join(map(str, about["num_classes"]))
    rows = list(_rows(about["tree"]))
    width = max(len(drawn) for drawn, *_ in rows)
    labels: dict[str, list[int]] = {}
    for value, name in about["labels"].items():
        labels.setdefault(name, []).append(value)
    images = {name: image for pair in about["pairs"] for name, image in (pair, pair[::-1])}
    lines = [f"Classes per level, coarsest first: {counts}", ""]
    for drawn, name, is_leaf in rows:
        notes = [_labels(labels[name])] if name in labels else ["no label"] * is_leaf
        if name == about["background"]:
            notes.append("background")
        if name in images:
            notes.append(f"flips to {images[name]}")
        lines.append(f"{drawn.ljust(width)}  {', '.join(notes)}".rstrip())
    if about["void"]:
        lines += ["", f"Void: {_labels(about['void'])}"]
    return "\n".join(lines)


def _rows(branch: dict[str, Any], indent: str | None = None) -> Iterator[tuple[str, str, bool]]:
    """Each class: as drawn, its name, and whether it is a leaf."""
    for name, children in branch.items():
        fork, below = "", ""
        if indent is not None:
            last = name == next(reversed(branch))
            fork = indent + ("└── " if last else "├── ")
            below = indent + ("    " if last else "│   ")
        yield fork + name, name, children is None
        yield from _rows(children or {}, below)


def _labels(values: list[int]) -> str:
    return f"label{'s' * (len(values) > 1)} {' '.join(map(str, values))}"
