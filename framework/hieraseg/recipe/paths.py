"""Paths among the arguments of a recipe."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from hieraseg.recipe.spec import ComponentSpec

LARGEST_FILE = 64 * 2**20
"""Bytes of the largest file that counts as a part of the recipe: it is copied into run folders, and
known by its content. Larger ones, such as archives of images, are data."""


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
