"""Strict YAML: safe loading without aliases, limits of depth and size, errors with their line.

Recipes and class trees are read through this module. YAML 1.1 reads `3e-4` as a string, `1:30` as
90, `010` as 8 and `2020-01-01` as a date. Here, scalars that look like a number are numbers, and
nothing else is.
"""

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_TAG = "tag:yaml.org,2002:"
NULL, STRING, MERGE = (_TAG + kind for kind in ("null", "str", "merge"))
SUPPORTED = {_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")}

_FLOAT = re.compile(
    r"""[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$
       |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$
       |[-+]?\.(?:inf|Inf|INF)$
       |\.(?:nan|NaN|NAN)$""",
    re.VERBOSE,
)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$")
_TEMPLATE = re.compile(r"\{\w+\}|\*[*./:]")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")
_REPLACED = {_TAG + kind for kind in ("bool", "int", "float", "timestamp", "value")}


LARGEST = 4 * 2**20
"""Bytes of the largest file that is read: a hundred times the largest class trees."""


class InvalidYAMLError(ValueError):
    """YAML that cannot be read.

    Args:
        problem: one sentence.
        line: line number, from 1.
    """

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.line = line


class Loader(yaml.SafeLoader):
    """Safe loader with the numbers and booleans of YAML 1.2, of which `off` is none.

    It refuses aliases, so that every value has one place.
    """

    max_depth = 20
    depth = 0
    yaml_implicit_resolvers = {  # noqa: RUF012 (declared so by PyYAML)
        first: [(tag, regexp) for tag, regexp in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            problem = "aliases (*name) are not supported; write the value out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        if self.depth > self.max_depth:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class StringLoader(Loader):
    """Loader that reads all scalars but null as strings, also `off`, `010` and `1e3`."""

    max_depth = 100
    yaml_implicit_resolvers = {}  # noqa: RUF012 (declared so by PyYAML)


class Dumper(yaml.SafeDumper):
    """Dumper whose output `Loader` reads back as the same value."""

    def represent_string(self, text: str) -> Node:
        # PyYAML would fold a string at a line break, and not read it back unchanged.
        style = None if text.isprintable() else '"'
        return self.represent_scalar(STRING, text, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        return True


Loader.add_implicit_resolver(_TAG + "bool", _BOOL, list("tTfF"))
Loader.add_implicit_resolver(_TAG + "int", _INT, list("-+0123456789"))
Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))
StringLoader.add_implicit_resolver(NULL, re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
# In addition to those of YAML 1.1, so that a string which either reads as a number is quoted.
Dumper.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))
Dumper.add_representer(str, Dumper.represent_string)


def compose(text: str, loader: type[Loader] = Loader) -> Node | None:
    """Parse one document.

    Args:
        text: YAML.
        loader: decides the types of scalars and the greatest depth.

    Returns:
        Root node, or None if the document is empty.

    Raises:
        InvalidYAMLError: the syntax is invalid, the nesting is too deep, or the text has aliases or
            several documents.
    """
    try:
        return loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason, line = error.problem or error.context or "", mark.line + 1 if mark else 1
        if any(map(_TEMPLATE.search, text.splitlines()[line - 1 : line])):
            reason += "; a value with {...} or * in it needs quotes"
        if "unknown escape" in reason:
            reason += "; in single quotes, a backslash is a plain character"
        raise _syntax_error(reason, line) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _syntax_error(f"{error.reason}: {text[error.position]!r}", line) from error
    except (ValueError, OverflowError) as error:
        # PyYAML accepts any escaped number as a character.
        raise _syntax_error(str(error), 1) from error


def _syntax_error(reason: str, line: int) -> InvalidYAMLError:
    return InvalidYAMLError(f"not valid YAML: {' '.join(reason.split())}", line)


def tag_problem(tag: str) -> str:
    """Why a tag is not supported; empty if it is."""
    if tag in SUPPORTED:
        return ""
    what = "merge keys (<<) are" if tag == MERGE else f"the tag {tag!r} is"
    return f"{what} not supported; write the value out"


def scalar(node: ScalarNode) -> Any:
    """Value of a scalar.

    Raises:
        ValueError: the text does not fit the tag, as in `!!float x`, or the number is too large.
    """
    try:
        value = yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError, KeyError, IndexError) as error:
        kind = node.tag.removeprefix(_TAG)
        raise ValueError(f"cannot be read as {kind}: {error}") from error
    if isinstance(value, float) and math.isinf(value) and "inf" not in node.value.lower():
        raise ValueError(f"cannot be read as float: {node.value} is beyond the largest float")
    return value


def plain(node: Node | None, read_scalar: Callable[[ScalarNode], Any] = scalar) -> Any:
    """Mappings, lists and scalars of a node and its children.

    Args:
        node: from `compose`.
        read_scalar: value of a scalar with a supported tag; raises ValueError if it has none.

    Raises:
        InvalidYAMLError: a tag is not supported, or a key is duplicate, null or no scalar.
    """
    if node is None:
        return None
    problem = tag_problem(node.tag)
    if problem:
        raise InvalidYAMLError(problem, line_of(node))
    if isinstance(node, SequenceNode):
        return [plain(item, read_scalar) for item in node.value]
    if isinstance(node, MappingNode):
        return _plain_mapping(node, read_scalar)
    assert isinstance(node, ScalarNode)
    try:
        return read_scalar(node)
    except ValueError as error:
        raise InvalidYAMLError(str(error), line_of(node)) from error


def _plain_mapping(node: MappingNode, read_scalar: Callable[[ScalarNode], Any]) -> dict[Any, Any]:
    mapping: dict[Any, Any] = {}
    lines: dict[Any, int] = {}
    for key_node, value in node.value:
        line = line_of(key_node)
        key = plain(key_node, read_scalar) if isinstance(key_node, ScalarNode) else None
        if key is None:
            problem = f"a key must be a string or a number, got {shown(key_node)}"
            raise InvalidYAMLError(problem, line)
        if key in mapping:
            problem = f"duplicate key {key!r} (first on line {lines[key]}); keep one"
            raise InvalidYAMLError(problem, line)
        lines[key] = line
        mapping[key] = plain(value, read_scalar)
    return mapping


def read_text(path: Path) -> str:
    """Read a text file that is not larger than any sensible one.

    Raises:
        InvalidYAMLError: the file is too large, or not UTF-8.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise InvalidYAMLError(f"larger than {LARGEST >> 20} MiB; name another file", 1)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidYAMLError(f"not a UTF-8 text file ({error.reason})", 1) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_plain(path: Path) -> Any:
    """Read a file into mappings, lists and scalars.

    Raises:
        InvalidYAMLError: the file is too large, not UTF-8 or not valid YAML (see `compose` and
            `plain`).
        OSError: the file cannot be opened.
    """
    return plain(compose(read_text(path)))


def line_of(node: Node) -> int:
    """Line on which a node starts, from 1."""
    return node.start_mark.line + 1


def shown(node: Node) -> str:
    """A node as part of an error message."""
    return repr(node.value) if isinstance(node, ScalarNode) else "a list or mapping"


def inline(value: Any) -> str:
    """Plain value as YAML on one line."""
    text = yaml.dump(
        value,
        Dumper=Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=sys.maxsize,
    )
    return text.removesuffix("\n").removesuffix("\n...")


def unquoted(text: str) -> Any:
    """Value of a scalar that is written in YAML without quotes."""
    tag = Loader("").resolve(ScalarNode, text, (True, False))
    try:
        return scalar(ScalarNode(tag, text)) if tag in SUPPORTED else text
    except ValueError:  # a number with more digits than Python converts
        return text
