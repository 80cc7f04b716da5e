"""Read one YAML file or text into plain values, each with the place where it was written."""

import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hieraseg.errors import RecipeError
from hieraseg.recipe.environment import FilledText, filled, has_reference


class Place(NamedTuple):
    """Where something was written; a line of 0 means no file."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


COMMAND_LINE = Place("command line")
DEFAULT = Place("default")


class Problem(NamedTuple):
    """One thing that is wrong with a recipe; `of_data` if it is a data set that is not there."""

    place: Place
    key: str
    text: str
    of_data: bool = False

    def __str__(self) -> str:
        key = self.key if self.key and self.key.isprintable() else repr(self.key)
        return f"{self.place}: {key}: {self.text}"


class Entry(NamedTuple):
    """A value and its place. Of a section the value is a `dict[str, Entry]`, else it is plain.

    `inside` has the places of what lies in a plain value, by dotted key: `loss.losses[1].gamma`.
    """

    value: Any
    place: Place
    inside: Mapping[str, Place] = MappingProxyType({})


Layer = dict[str, Entry]

# YAML 1.1 reads 3e-4 as text, 1:30 as 90, 010 as 8 and 2020-01-01 as a date. A recipe takes
# what looks like a number for one, and nothing else.
_FLOAT = re.compile(
    r"""[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$
       |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$
       |[-+]?\.(?:inf|Inf|INF)$
       |\.(?:nan|NaN|NAN)$""",
    re.VERBOSE,
)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$")
_TAG = "tag:yaml.org,2002:"
_MENDED = {_TAG + kind for kind in ("int", "float", "timestamp", "value")}
_DEEPEST = 20
_SUPPORTED = {_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")}


class _Loader(yaml.SafeLoader):
    """Safe loading with mended numbers and without aliases, so that a value has one place."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (declared so by PyYAML)
        first: [(tag, regexp) for tag, regexp in resolvers if tag not in _MENDED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not supported: write the value out", problem_mark=mark
            )
        if self.depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Dumper(yaml.SafeDumper):
    """Writes what this module reads back as the same value."""

    def represent_text(self, text: str) -> Node:
        # PyYAML would break a text at a line end, and not read it back as it was.
        style = None if text.isprintable() else '"'
        return self.represent_scalar(_TAG + "str", text, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.add_implicit_resolver(_TAG + "int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))
# Kept beside YAML 1.1's own, so that a text which either takes for a number is quoted.
Dumper.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))
Dumper.add_representer(str, Dumper.represent_text)


def inline(value: Any) -> str:
    """A plain value as YAML on one line."""
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
    """What a short text means where it stands in YAML without quotes."""
    tag = _Loader("").resolve(ScalarNode, text, (True, False))
    try:
        return _construct(ScalarNode(tag, text)) if tag in _SUPPORTED else text
    except ValueError:  # more digits than Python reads
        return text


def read_file(path: Path) -> tuple[Layer, list[Problem]]:
    """The sections of a recipe file, and the keys that stand in it twice or are no text.

    Raises:
        RecipeError: no such file, no YAML, or no mapping of sections.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}:1: is not a UTF-8 text file ({error.reason})") from error
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such recipe file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(f"{str(path)!r}: cannot be read: {reason}") from error
    try:
        node = _compose(text)
    except _SyntaxError as error:
        raise RecipeError(f"{path}:{error.line}: {error}") from error
    if node is None:
        raise RecipeError(f"{path}:1: the recipe is empty; it needs sections such as `data:`")
    place = Place(str(path), node.start_mark.line + 1)
    if not isinstance(node, MappingNode):
        raise RecipeError(f"{place}: a recipe is a mapping of sections, got {_kind(node)}")
    reader = _Reader(str(path))
    return reader.layer(node), reader.problems


def read_override(key: str, text: str) -> tuple[Entry, list[Problem]]:
    """The value of an override, as typed on the command line, and what is wrong with it."""
    try:
        node = _compose(text)
    except _SyntaxError as error:
        return Entry(None, COMMAND_LINE), [Problem(COMMAND_LINE, key, f"{text!r} is {error}")]
    if node is None:
        return Entry(None, COMMAND_LINE), []
    reader = _Reader(None, key)
    return reader.entry(node, COMMAND_LINE, key, "." not in key), reader.problems


class _Reader:
    """Turns nodes of YAML into entries, and collects the problems in them."""

    def __init__(self, source: str | None, root: str = "") -> None:
        self.source = source
        self.root = root
        self.problems: list[Problem] = []
        self.places: dict[str, Place] = {}

    def layer(self, node: MappingNode) -> Layer:
        return {
            key: self.entry(value, place, key, is_section=True)
            for key, value, place in self._items(node, "")
        }

    def entry(self, node: Node, place: Place, key: str, is_section: bool) -> Entry:
        if not is_section or not isinstance(node, MappingNode):
            return Entry(self._plain(node, key), place, self.places)
        return Entry(
            {
                name: Entry(self._plain(value, f"{key}.{name}"), where, self.places)
                for name, value, where in self._items(node, key)
            },
            place,
        )

    def _items(self, node: MappingNode, above: str) -> list[tuple[str, Node, Place]]:
        self._check_tag(node, above)
        items: dict[str, tuple[Node, Place]] = {}
        for key_node, value in node.value:
            place = self._place(key_node)
            key = self._scalar(key_node, above) if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str):
                self._note(place, above, f"a key must be a text, got {_shown(key_node)}")
            elif key in items:
                first = items[key][1]
                line = f" (first on line {first.line})" if first.line else ""
                self._note(place, f"{above}.{key}".strip("."), f"stands twice{line}: keep one")
            else:
                items[key] = (value, place)
        return [(key, value, place) for key, (value, place) in items.items()]

    def _plain(self, node: Node, key: str) -> Any:
        if isinstance(node, ScalarNode):
            return self._filled(node, key) if has_reference(node.value) else self._scalar(node, key)
        self._check_tag(node, key)
        if isinstance(node, SequenceNode):
            items = {f"{key}[{index}]": item for index, item in enumerate(node.value)}
            self.places |= {inner: self._place(item) for inner, item in items.items()}
            return [self._plain(item, inner) for inner, item in items.items()]
        plain: dict[Any, Any] = {}
        for key_node, value in node.value:
            name = self._scalar(key_node, key) if isinstance(key_node, ScalarNode) else None
            if name is None:
                self._note(self._place(key_node), key, f"{_shown(key_node)} cannot be a key")
            elif name in plain:
                self._note(self._place(key_node), f"{key}.{name}", "stands twice: keep one")
            else:
                self.places[f"{key}.{name}"] = self._place(key_node)
                plain[name] = self._plain(value, f"{key}.{name}")
        return plain

    def _filled(self, node: ScalarNode, key: str) -> Any:
        """A scalar with its environment variables filled in."""
        if node.tag != _TAG + "str":
            text = f"the tag {node.tag!r} does not go with a variable: remove it"
            self._note(self._place(node), key, text)
            return None
        try:
            text = filled(node.value)
        except ValueError as error:
            self._note(self._place(node), key, str(error))
            return None
        return unquoted(text) if node.style is None else FilledText(text)

    def _scalar(self, node: ScalarNode, key: str) -> Any:
        try:
            return _construct(node) if self._check_tag(node, key) else None
        except (yaml.YAMLError, ValueError, KeyError, IndexError) as error:
            kind = node.tag.removeprefix(_TAG)
            self._note(self._place(node), key, f"cannot be read as {kind}: {error}")
            return None

    def _check_tag(self, node: Node, key: str) -> bool:
        if node.tag in _SUPPORTED:
            return True
        merge = node.tag == _TAG + "merge"
        what = "merge keys (<<) are" if merge else f"the tag {node.tag!r} is"
        self._note(self._place(node), key, f"{what} not supported: write the value out")
        return False

    def _place(self, node: Node) -> Place:
        return Place(self.source, node.start_mark.line + 1) if self.source else COMMAND_LINE

    def _note(self, place: Place, key: str, text: str) -> None:
        self.problems.append(Problem(place, key or self.root or "recipe", text))


def _construct(node: ScalarNode) -> Any:
    value = yaml.constructor.SafeConstructor().construct_object(node)
    if isinstance(value, float) and math.isinf(value) and "inf" not in node.value.lower():
        raise ValueError(f"{node.value} is beyond the largest float")
    return value


class _SyntaxError(Exception):
    """A text that is no YAML."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"not valid YAML: {' '.join(reason.split())}")
        self.line = line


def _compose(text: str) -> Node | None:
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        reason = error.problem or error.context or ""
        if has_reference("".join(text.splitlines()[line : line + 1])):
            reason += '; inside {} or [] a variable needs quotes: "${NAME}"'
        raise _SyntaxError(reason, line + 1) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _SyntaxError(f"{error.reason}: {text[error.position]!r}", line) from error
    except (ValueError, OverflowError) as error:
        # PyYAML takes any escaped number for a character.
        raise _SyntaxError(str(error), 1) from error


def _kind(node: Node) -> str:
    return "a list" if isinstance(node, SequenceNode) else _shown(node)


def _shown(node: Node) -> str:
    return repr(node.value) if isinstance(node, ScalarNode) else "a list or mapping"
