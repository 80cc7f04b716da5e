"""Draw a class tree with its labels."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from hieraseg.cli.layout import pad, visible
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy

_MAX_LEVELS = 100


def as_dict(build: Callable[[], Hierarchy], place: str) -> dict[str, Any]:
    """A class tree as JSON values.

    Args:
        build: function that returns the hierarchy.
        place: the component or file, for error messages.

    Raises:
        RecipeError: the hierarchy cannot be built, or has more than 100 levels.
    """
    try:
        hierarchy = build()
    except ValueError as error:
        raise RecipeError(f"{place}: {error}") from error
    if not isinstance(hierarchy, Hierarchy):
        raise RecipeError(f"{place}: must return a Hierarchy, got {hierarchy!r}")
    if hierarchy.num_levels > _MAX_LEVELS:
        raise RecipeError(
            f"{place}: too many levels to draw: at most {_MAX_LEVELS}, got {hierarchy.num_levels}"
        )
    return {
        "num_classes": hierarchy.num_classes,
        "tree": hierarchy.tree,
        "labels": hierarchy.labels,
        "void": list(hierarchy.void),
        "background": hierarchy.background,
        "pairs": [list(pair) for pair in hierarchy.pairs],
    }


def from_file(path: Path) -> dict[str, Any]:
    """The class tree of a hierarchy file as JSON values.

    Raises:
        RecipeError: the file has a problem.
    """
    return as_dict(lambda: Hierarchy.from_file(path), "hierarchy")


def as_text(tree: dict[str, Any]) -> str:
    """The tree of `as_dict`, drawn with one line per class."""
    counts = " / ".join(map(str, tree["num_classes"]))
    rows = list(_rows(tree["tree"]))
    width = max(cell_len(drawn) for drawn, *_ in rows)
    labels: dict[str, list[int]] = {}
    for value, name in tree["labels"].items():
        labels.setdefault(name, []).append(value)
    mirrored = {name: other for pair in tree["pairs"] for name, other in (pair, pair[::-1])}
    lines = [f"Classes per level, coarsest first: {counts}", ""]
    for drawn, name, is_leaf in rows:
        notes = [_label_list(labels[name])] if name in labels else ["no label"] * is_leaf
        if name == tree["background"]:
            notes.append("background")
        if name in mirrored:
            notes.append(f"flips to {visible(mirrored[name])}")
        lines.append(f"{pad(drawn, width)}  {', '.join(notes)}".rstrip())
    if tree["void"]:
        lines += ["", f"Void: {_label_list(tree['void'])}"]
    return "\n".join(lines)


def _rows(branch: dict[str, Any], indent: str | None = None) -> Iterator[tuple[str, str, bool]]:
    """For each class its drawing, its name, and whether it is a leaf."""
    for name, children in branch.items():
        fork, below = "", ""
        if indent is not None:
            last = name == next(reversed(branch))
            fork = indent + ("└── " if last else "├── ")
            below = indent + ("    " if last else "│   ")
        yield fork + visible(name), name, children is None
        yield from _rows(children or {}, below)


def _label_list(values: list[int]) -> str:
    return f"label{'s' * (len(values) > 1)} {' '.join(map(str, values))}"
