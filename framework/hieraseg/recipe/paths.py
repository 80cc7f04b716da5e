"""Paths among the arguments of a recipe."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, Literal, Union

from hieraseg.paths import absolute
from hieraseg.recipe.spec import ComponentSpec
from hieraseg.recipe.values import fits, kind_of, plain
from hieraseg.types import plain_type


def is_path(hint: Any) -> bool:
    """Whether a string of this type can be a path."""
    kind, inner = kind_of(hint)
    if kind is Union:
        return any(map(is_path, inner))
    hint = plain_type(hint)
    return isinstance(hint, type) and issubclass(hint, PurePath)


def with_absolute_paths(value: Any, hint: Any, folder: Path) -> Any:
    """A converted value whose paths are absolute.

    In a union, a string that one of its literals or enumerations has is a word; any other is a path
    if the union has a path.

    Args:
        value: value of an argument.
        hint: its type.
        folder: folder that relative paths are relative to.
    """
    kind, inner = kind_of(hint)
    if kind is Union:
        fitting = [one for one in inner if fits(plain(value), one)]
        return with_absolute_paths(value, min(fitting, key=_rank), folder) if fitting else value
    if isinstance(value, str | PurePath) and is_path(hint):
        path = absolute(str(value), folder)
        return type(value)(path) if isinstance(value, Path) else path
    if kind is list and isinstance(value, list):
        return [with_absolute_paths(item, inner[0], folder) for item in value]
    if kind is tuple and isinstance(value, tuple):
        hints = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        pairs = zip(value, hints, strict=True)
        return tuple(with_absolute_paths(item, of_item, folder) for item, of_item in pairs)
    if kind is dict and isinstance(value, dict):
        return {
            with_absolute_paths(key, inner[0], folder): with_absolute_paths(item, inner[1], folder)
            for key, item in value.items()
        }
    return value


def unwritable(path: Path) -> str:
    """Why a recipe cannot name a path; empty if it can."""
    if "${" in str(path):
        return "the path must not contain ${, since recipes replace variables; rename it"
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "the path is not UTF-8, as recipes are; rename it"
    return ""


def paths_in(value: Any, key: str) -> Iterator[tuple[str, Path]]:
    """Dotted key and path of each path in an argument's value; not those of nested components."""
    if isinstance(value, Path):
        yield key, value
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from paths_in(item, f"{key}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from paths_in(name, key)
            yield from paths_in(item, f"{key}.{name}")


def map_paths(value: Any, change: Callable[[Path], PurePath]) -> Any:
    """A copy of an argument's value, a component or a collection of these with other paths."""
    if isinstance(value, Path):
        return change(value)
    if isinstance(value, ComponentSpec):
        return replace(value, arguments=map_paths(value.arguments, change))
    if isinstance(value, list | tuple):
        return type(value)(map_paths(item, change) for item in value)
    if isinstance(value, dict):
        return {map_paths(key, change): map_paths(item, change) for key, item in value.items()}
    return value


def _rank(hint: Any) -> int:
    """Which type of a union a value has, of several that it fits: the smallest."""
    kind, _ = kind_of(hint)
    if kind is Literal or hasattr(plain_type(hint), "__members__"):
        return 0
    return 1 if is_path(hint) else 2
    return isinstance(hint, type) and issubclass(hint, PurePath)
