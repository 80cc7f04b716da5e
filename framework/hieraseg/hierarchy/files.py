"""Class trees as people write them: indented text, child-parent pairs, YAML.

Names keep the line they were written on, so that a mistake that is found later can say where.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hieraseg.errors import did_you_mean
from hieraseg.hierarchy.rules import Name, TreeError, first_line

Tree = dict[str, Any] | list[Any]

ENDINGS = (".yaml", ".yml", ".txt", ".csv", ".tsv")
"""Of the files that `read_file` takes."""

_COMMENT = re.compile(r"(^|\s)#.*")
_WHOLE_NUMBER = re.compile(r"-?[0-9]+$")
_TAG = "tag:yaml.org,2002:"
_NULL, _TEXT, _LIST, _MAPPING = (_TAG + kind for kind in ("null", "str", "seq", "map"))


def read_file(path: Path) -> tuple[Tree, dict[str, Any]]:
    """A file's class tree, and the other arguments of `Hierarchy.from_tree`.

    Raises:
        ValueError: no such file, a file of another kind, or one that breaks the rules of its kind.
    """
    suffix = path.suffix.lower()
    if suffix not in ENDINGS:
        raise ValueError("a hierarchy file ends in .yaml, .yml, .txt, .csv or .tsv")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not a UTF-8 text file ({error.reason})") from error
    except FileNotFoundError as error:
        raise ValueError("no such hierarchy file") from error
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if suffix == ".txt":
        return tree_of_text(text), {}
    if suffix in (".csv", ".tsv"):
        return tree_of_pairs(_rows(text, "," if suffix == ".csv" else "\t")), {}
    return _yaml(text)


def tree_of_text(text: str) -> Tree:
    """The class tree of an indented text: a name per line, children deeper than their parent.

    What follows a `#` at the start of a line or after a space is a comment.

    Raises:
        TreeError: a line that is indented like no line above it.
    """
    roots: list[Any] = []
    open_branches: list[tuple[str, list[Any]]] = []  # indent and classes so far, outermost first
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
            raise TreeError(f"{name!r} is indented like no line above it", name)
        open_branches[-1][1].append({name: None})
    return roots


def tree_of_pairs(pairs: Iterable[Sequence[str | None]]) -> Tree:
    """The class tree of pairs of a child and its parent; a root's parent is None or empty.

    Raises:
        TreeError: a class with two parents, a parent that is no class of its own, a cycle.
    """
    parents: dict[str, str | None] = {}
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or not pair[0]:
            raise TreeError(f"expected a child and its parent, got {pair!r}")
        child, parent = pair[0], pair[1] or None
        if child in parents:
            one, other = (f"{name!r}" if name else "none" for name in (parents[child], parent))
            raise TreeError(
                f"the class {child!r} stands twice, with the parents {one} and {other}: keep one",
                child,
            )
        parents[child] = parent
    for child, parent in parents.items():
        if parent is not None and parent not in parents:
            raise TreeError(
                f"{parent!r}, the parent of {child!r}, is missing: give it a parent of its own, "
                "an empty one if it is a root",
                child,
            )
    _refuse_cycles(parents)
    branches: dict[str | None, dict[str, Any]] = {parent: {} for parent in parents.values()}
    for child, parent in parents.items():
        branches[parent][child] = branches.get(child)
    return branches.get(None, {})


def _refuse_cycles(parents: dict[str, str | None]) -> None:
    rooted: set[str | None] = {None}
    for child in parents:
        name: str | None = child
        way: dict[str | None, None] = {}
        while name not in rooted:
            if name in way:
                names = list(way)
                circle = " > ".join(map(str, [*names[names.index(name) :], name]))
                raise TreeError(f"the parents run in a circle: {circle}", child)
            way[name] = None
            name = parents[str(name)]
        rooted.update(way)


def _rows(text: str, delimiter: str) -> Iterable[tuple[Name, Name | None]]:
    """Child and parent of each row; a first row `child,parent` is a heading."""
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
            problem = f"expected a {delimiter!r} between child and parent, got {row[0]!r}"
            raise TreeError(problem, row[0])
        if len(row) > 2 or not row[0]:
            raise TreeError(f"expected a child and its parent, got {delimiter.join(row)!r}", row[0])
        yield row[0], row[1] if len(row) == 2 else None


class _Loader(yaml.SafeLoader):
    """Takes everything but null for a text: a class may be called `off`, `010` or `1e3`."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (declared so by PyYAML)

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not supported: write the value out",
                problem_mark=self.peek_event().start_mark,
            )
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])


def _compose(text: str) -> Node | None:
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context
        raise TreeError(f"not valid YAML: {problem}", line=mark.line + 1 if mark else 1) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise TreeError(f"not valid YAML: {error.reason}", line=line) from error
    except RecursionError as error:
        raise TreeError("not valid YAML: it is nested too deeply", line=1) from error
    except (OverflowError, ValueError) as error:
        raise TreeError(f"not valid YAML: {error}", line=1) from error


def _plain(node: Node | None) -> Any:
    """Mappings, lists, names and None."""
    line = node.start_mark.line + 1 if node else 1
    if node is None or node.tag == _NULL:
        return None
    if node.tag == _TEXT and isinstance(node, ScalarNode):
        return Name(node.value, line)
    if node.tag == _LIST and isinstance(node, SequenceNode):
        return [_plain(item) for item in node.value]
    if node.tag != _MAPPING or not isinstance(node, MappingNode):
        raise TreeError(f"the tag {node.tag!r} is not supported: leave it out", line=line)
    plain: dict[Name, Any] = {}
    for key_node, value in node.value:
        key = _plain(key_node)
        if not isinstance(key, Name):
            raise TreeError(
                f"expected a name or a label value before the colon, got {key}", line=line
            )
        if key in plain:
            first = first_line(next(other for other in plain if other == key))
            raise TreeError(f"{key!r} stands twice{first}: keep one", key)
        plain[key] = _plain(value)
    return plain


def _yaml(text: str) -> tuple[Tree, dict[str, Any]]:
    content = _plain(_compose(text))
    if not isinstance(content, dict) or content.get("tree") is None:
        raise TreeError("a hierarchy file needs the key `tree`, with the classes below it", line=1)
    settings: dict[str, Any] = {}
    for key, value in content.items():
        if key not in _READERS:
            raise TreeError(f"no key is called {key!r}, {did_you_mean(key, _READERS)}", key)
        if value is not None:
            settings[str(key)] = _READERS[key](value, key)
    settings.pop("source", None)
    return settings.pop("tree"), settings


def _tree(value: Any, key: str) -> Tree:
    if not isinstance(value, dict | list):
        raise _unexpected("a mapping or a list of class names", value, key)
    return value


def _labels(value: Any, key: str) -> dict[int, str] | list[str]:
    if isinstance(value, list):
        return [_name(name, key) for name in value]
    if not isinstance(value, dict):
        raise _unexpected("names by label value, or a list of names", value, key)
    labels: dict[int, str] = {}
    for text, name in value.items():
        label = _label(text, key)
        if label in labels:
            raise TreeError(f"the label {label} stands twice: keep one", text)
        labels[label] = _name(name, text)
    return labels


def _void(value: Any, key: str) -> list[int]:
    if not isinstance(value, list):
        raise _unexpected("a list of label values", value, key)
    return [_label(text, key) for text in value]


def _pairs(value: Any, key: str) -> list[tuple[str, str]]:
    for pair in value if isinstance(value, list) else [value]:
        if not isinstance(pair, list) or len(pair) != 2:
            raise _unexpected("a list of pairs, as in [[left_arm, right_arm]]", pair, key)
    return [(_name(left, key), _name(right, key)) for left, right in value]


def _name(value: Any, key: str) -> Name:
    if not isinstance(value, Name):
        raise _unexpected("a name", value, key)
    return value


def _label(value: Any, key: str) -> int:
    if not isinstance(value, Name) or not _WHOLE_NUMBER.match(value):
        raise _unexpected("a label value, a whole number", value, key)
    return int(value)


def _unexpected(what: str, value: Any, key: str) -> TreeError:
    return TreeError(
        f"{key}: expected {what}, got {value!r}", value if isinstance(value, Name) else key
    )


_READERS = {
    "source": _name,
    "tree": _tree,
    "labels": _labels,
    "void": _void,
    "background": _name,
    "pairs": _pairs,
}
