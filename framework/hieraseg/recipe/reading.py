"""Read a recipe file, or a value from the command line, and keep the place of every value."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hieraseg.errors import RecipeError
from hieraseg.files import strict_yaml
from hieraseg.files.paths import quoted
from hieraseg.files.strict_yaml import InvalidYAMLError, unquoted
from hieraseg.recipe.environment import SubstitutedString, has_reference, substitute


class Place(NamedTuple):
    """Where something is written. Line 0 means that the source is no file."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source

    @property
    def folder(self) -> Path:
        """Folder of the file, or else the working directory: paths are relative to it."""
        return Path(self.source).parent if self.line else Path()


COMMAND_LINE = Place("command line")
DEFAULT = Place("default")


class Problem(NamedTuple):
    """One problem of a recipe; `of_data` if a data set's files are missing."""

    place: Place
    key: str
    text: str
    of_data: bool = False

    def __str__(self) -> str:
        key = self.key if self.key and self.key.isprintable() else repr(self.key)
        return f"{self.place}: {key}: {self.text}"


class Entry(NamedTuple):
    """A value and its place. The value of a section is a `dict[str, Entry]`, others are plain.

    `inside` maps dotted keys, as in `loss.losses[1].gamma`, to the places of nested values.
    """

    value: Any
    place: Place
    inside: Mapping[str, Place] = MappingProxyType({})


Layer = dict[str, Entry]


class Override(NamedTuple):
    """A value of a dotted key or a section, in YAML, that replaces the recipe's."""

    key: str
    text: str
    place: Place = COMMAND_LINE


def read_file(path: Path) -> tuple[Layer, list[Problem]]:
    """Read the sections of a recipe file.

    Returns:
        The sections, and problems such as duplicate keys.

    Raises:
        RecipeError: the file cannot be read, is not valid YAML, or is no mapping of sections.
    """
    try:
        text = strict_yaml.read_text(path)
    except InvalidYAMLError as error:
        raise RecipeError(f"{path}:{error.line}: is {error}") from error
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such recipe file") from error
    except IsADirectoryError as error:
        raise RecipeError(
            f"{path}: is a folder; name a recipe file in it, or go on with a run by `hieraseg "
            f"resume {quoted(path)}`"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(f"{str(path)!r}: cannot be read: {reason}") from error
    try:
        node = _compose(text)
    except InvalidYAMLError as error:
        raise RecipeError(f"{path}:{error.line}: {error}") from error
    if node is None:
        raise RecipeError(f"{path}:1: the recipe is empty; it needs sections such as `data:`")
    if not isinstance(node, MappingNode):
        got = "a list" if isinstance(node, SequenceNode) else strict_yaml.shown(node)
        place = Place(str(path), strict_yaml.line_of(node))
        raise RecipeError(f"{place}: a recipe is a mapping of sections, got {got}")
    reader = _Reader(str(path))
    return reader.layer(node), reader.problems


def read_override(override: Override) -> tuple[Entry, list[Problem]]:
    """Read the value of an override."""
    key, text, place = override
    try:
        node = _compose(text)
    except InvalidYAMLError as error:
        return Entry(None, place), [Problem(place, key, f"{text!r} is {error}")]
    if node is None:
        return Entry(None, place), []
    reader = _Reader(place, key)
    return reader.entry(node, place, key, "." not in key), reader.problems


def _compose(text: str) -> Node | None:
    try:
        return strict_yaml.compose(text)
    except InvalidYAMLError as error:
        line = "".join(text.splitlines()[error.line - 1 : error.line])
        if isinstance(error.__cause__, yaml.MarkedYAMLError) and has_reference(line):
            hint = 'inside {} or [] a variable needs quotes: "${NAME}"'
            raise InvalidYAMLError(f"{error}; {hint}", error.line) from error
        raise


class _Reader:
    """Converts YAML nodes to entries, and collects their problems.

    Args:
        source: file of the nodes, or the place of all of them.
        root: key of problems that have no other.
    """

    def __init__(self, source: str | Place, root: str = "recipe") -> None:
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

    def _items(
        self, node: MappingNode, above: str, allow_numbers: bool = False
    ) -> list[tuple[Any, Node, Place]]:
        """Key, value and place of each item of a mapping; items with invalid keys are left out."""
        self._check_tag(node, above)
        items: dict[Any, tuple[Node, Place]] = {}
        for key_node, value in node.value:
            place = self._place(key_node)
            key = self._scalar(key_node, above) if isinstance(key_node, ScalarNode) else None
            if key is None or not (allow_numbers or isinstance(key, str)):
                kind = "a string or a number" if allow_numbers else "a string"
                text = f"a key must be {kind}, got {strict_yaml.shown(key_node)}"
                self._note(place, above, text)
            elif key in items:
                first = items[key][1].line
                line = f" (first on line {first})" if first else ""
                self._note(place, f"{above}.{key}".strip("."), f"duplicate key{line}; keep one")
            else:
                items[key] = (value, place)
        return [(key, value, place) for key, (value, place) in items.items()]

    def _plain(self, node: Node, key: str) -> Any:
        if isinstance(node, ScalarNode):
            if has_reference(node.value):
                return self._substituted(node, key)
            return self._scalar(node, key)
        if isinstance(node, SequenceNode):
            self._check_tag(node, key)
            items = {f"{key}[{index}]": item for index, item in enumerate(node.value)}
            self.places |= {inner: self._place(item) for inner, item in items.items()}
            return [self._plain(item, inner) for inner, item in items.items()]
        assert isinstance(node, MappingNode)
        plain: dict[Any, Any] = {}
        for name, value, place in self._items(node, key, allow_numbers=True):
            self.places[f"{key}.{name}"] = place
            plain[name] = self._plain(value, f"{key}.{name}")
        return plain

    def _substituted(self, node: ScalarNode, key: str) -> Any:
        """A scalar with the values of its environment variables."""
        if node.tag != strict_yaml.STRING:
            text = f"a value with a variable cannot have the tag {node.tag!r}; remove the tag"
            self._note(self._place(node), key, text)
            return None
        try:
            text = substitute(node.value)
        except ValueError as error:
            self._note(self._place(node), key, str(error))
            return None
        return unquoted(text) if node.style is None else SubstitutedString(text)

    def _scalar(self, node: ScalarNode, key: str) -> Any:
        if not self._check_tag(node, key):
            return None
        try:
            return strict_yaml.scalar(node)
        except ValueError as error:
            self._note(self._place(node), key, str(error))
            return None

    def _check_tag(self, node: Node, key: str) -> bool:
        problem = strict_yaml.tag_problem(node.tag)
        if problem:
            self._note(self._place(node), key, problem)
        return not problem

    def _place(self, node: Node) -> Place:
        if isinstance(self.source, Place):
            return self.source
        return Place(self.source, strict_yaml.line_of(node))

    def _note(self, place: Place, key: str, text: str) -> None:
        self.problems.append(Problem(place, key or self.root, text))
