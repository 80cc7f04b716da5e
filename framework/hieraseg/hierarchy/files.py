"""Class trees as indented text, as child-parent pairs, and in files.

Names keep the line on which they are written, so that later errors can report it.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hieraseg.files.strict_yaml import read_text
from hieraseg.hierarchy.rules import Name, PlainTree, TreeError
from hieraseg.hierarchy.yaml_file import read_yaml

EXTENSIONS = (".yaml", ".yml", ".txt", ".csv", ".tsv")
"""Suffixes of hierarchy files."""

_COMMENT = re.compile(r"(^|\s)#.*")


def read_file(path: Path) -> tuple[PlainTree, dict[str, Any]]:
    """Read a class tree, and the options of `Hierarchy.from_tree` that the file sets.

    Raises:
        ValueError: the file cannot be read, has an unknown suffix, or is invalid (`TreeError`).
    """
    suffix = path.suffix.lower()
    if suffix not in EXTENSIONS:
        known = f"{', '.join(EXTENSIONS[:-1])} or {EXTENSIONS[-1]}"
        raise ValueError(f"unknown type of hierarchy file; expected {known}")
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise ValueError("no such hierarchy file") from error
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if suffix == ".txt":
        return tree_of_text(text), {}
    if suffix in (".csv", ".tsv"):
        return tree_of_pairs(_rows(text, "," if suffix == ".csv" else "\t")), {}
    return read_yaml(text)


def tree_of_text(text: str) -> PlainTree:
    """The class tree of an indented text: one name per line, children deeper than their parent.

    A `#` at the start of a line or after a space starts a comment.

    Raises:
        TreeError: the indentation of a line matches no line above.
    """
    roots: list[Any] = []
    open_branches: list[tuple[str, list[Any]]] = []  # indentation and classes, outermost first
    for number, line in enumerate(text.split("\n"), start=1):
        content = _COMMENT.sub("", line).rstrip()
        if not content:
            continue
        name = Name(content.lstrip(), number)
        indent = content[: len(content) - len(name)]
        if not open_branches:
            open_branches = [(indent, roots)]
        above, siblings = open_branches[-1]
        if indent != above and indent.startswith(above):
            (parent,) = siblings[-1]
            siblings[-1][parent] = []
            open_branches.append((indent, siblings[-1][parent]))
        while open_branches and open_branches[-1][0] != indent:
            open_branches.pop()
        if not open_branches:
            problem = "indentation matches no line above; indent it like its siblings"
            raise TreeError(f"{name!r}: {problem}", name)
        open_branches[-1][1].append({name: None})
    return roots


def tree_of_pairs(pairs: Iterable[Sequence[str | None]]) -> PlainTree:
    """The class tree of (child, parent) pairs. The parent of a root is None or empty.

    Raises:
        TreeError: a class has two parents, a parent is missing, or there is a cycle.
    """
    parents: dict[str, str | None] = {}
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or not pair[0]:
            raise TreeError(f"expected a child and its parent, got {pair!r}")
        child, parent = pair[0], pair[1] or None
        if child in parents:
            first, second = (f"{name!r}" if name else "none" for name in (parents[child], parent))
            problem = f"duplicate class {child!r}, with the parents {first} and {second}; keep one"
            raise TreeError(problem, child)
        parents[child] = parent
    for child, parent in parents.items():
        if parent is not None and parent not in parents:
            raise TreeError(
                f"{parent!r}, the parent of {child!r}, is missing; add it with its own parent, or "
                "with an empty one if it is a root",
                child,
            )
    _check_acyclic(parents)
    branches: dict[str | None, dict[str, Any]] = {parent: {} for parent in parents.values()}
    for child, parent in parents.items():
        branches[parent][child] = branches.get(child)
    return branches.get(None, {})


def _check_acyclic(parents: dict[str, str | None]) -> None:
    rooted: set[str | None] = {None}
    for child in parents:
        name: str | None = child
        path: dict[str | None, None] = {}
        while name not in rooted:
            if name in path:
                names = list(path)
                cycle = " > ".join(map(str, [*names[names.index(name) :], name]))
                raise TreeError(f"the parents form a cycle: {cycle}", child)
            path[name] = None
            name = parents[str(name)]
        rooted.update(path)


def _rows(text: str, delimiter: str) -> Iterable[tuple[Name, Name | None]]:
    """Child and parent of each row. A first row `child,parent` is skipped as a header."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [[Name(cell.strip(), reader.line_num) for cell in row] for row in reader]
    except csv.Error as error:
        raise TreeError(f"not valid CSV: {error}", line=reader.line_num) from error
    for number, row in enumerate(rows):
        if not any(row) or (number == 0 and [c.lower() for c in row] == ["child", "parent"]):
            continue
        other = next((one for one in ",;\t" if one != delimiter and one in row[0]), None)
        if len(row) == 1 and other:
            problem = f"expected {delimiter!r} between child and parent, got {row[0]!r}"
            raise TreeError(problem, row[0])
        if len(row) > 2 or not row[0]:
            raise TreeError(f"expected a child and its parent, got {delimiter.join(row)!r}", row[0])
        yield row[0], row[1] if len(row) == 2 else None
