"""Merge the layers of a recipe: base recipes, the recipe itself and the command line."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hieraseg.errors import RecipeError
from hieraseg.files.paths import expanded
from hieraseg.recipe.reading import (
    COMMAND_LINE,
    Entry,
    Layer,
    Override,
    Place,
    Problem,
    read_file,
    read_override,
)
from hieraseg.recipe.shipped import shipped_recipes
from hieraseg.recipe.sweep import Sweep, read_sweep, row_problem
from hieraseg.registry import all_kinds, by_section


class PluginReference(NamedTuple):
    """A plugin file that a recipe or the command line names, and the place of its name."""

    path: Path
    place: Place
    key: str


class Composed(NamedTuple):
    """A merged recipe.

    Attributes:
        sections: sections of all layers but `sweep`.
        plugins: plugin files of all layers.
        problems: problems of reading them.
        sweep: the section `sweep`, if there is one.
    """

    sections: Layer
    plugins: list[PluginReference]
    problems: list[Problem]
    sweep: Sweep | None = None


def compose(
    path: Path, overrides: Sequence[tuple[str, str] | Override], row: str | None = None
) -> Composed:
    """Read a recipe file, and merge it with its base recipes, a row and the overrides.

    Args:
        path: path of the recipe.
        overrides: dotted keys and values in YAML.
        row: row of its sweep.

    Raises:
        RecipeError: a file is missing or not valid YAML, a recipe is its own base, or there is no
            such row.
    """
    layers, plugins, problems = _files(path)
    composed: Layer = {}
    for layer in layers:
        composed = merge(composed, layer)
    sweep = None
    if "sweep" in composed:
        sweep, sweep_problems = read_sweep(composed.pop("sweep"))
        problems += sweep_problems
    if row is not None:
        rows = {} if sweep is None else sweep.rows
        if row not in rows:
            raise RecipeError(f"{path}: sweep.rows: {row_problem(row, rows)}")
        composed = merge(composed, _long_forms(rows[row]))
    typed, typing_problems = override_layer(overrides)
    return Composed(merge(composed, typed), plugins, problems + typing_problems, sweep)


def merge(below: Layer, above: Layer) -> Layer:
    """Merge two layers. Values of the one above take precedence.

    A section that names a component also removes the sections below that it replaces, as `model`
    does `backbone` and `decoder`, and the other way round.
    """
    removed = {one for section, entry in above.items() for one in _replaced_by(section, entry)}
    merged = {section: entry for section, entry in below.items() if section not in removed}
    for section, entry in above.items():
        merged[section] = _merge_section(merged[section], entry) if section in merged else entry
    return merged


def _replaced_by(section: str, entry: Entry) -> set[str]:
    """The sections that a section takes the place of."""
    if not isinstance(entry.value, dict) or "name" not in entry.value:
        return set()
    instead: set[str] = set()
    for kind in all_kinds():
        if kind.section == section:
            instead |= set(kind.replaces)
        elif section in kind.replaces:
            instead.add(kind.section)
    return instead


def _merge_section(below: Entry, above: Entry) -> Entry:
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    names = [entry.value["name"].value for entry in (below, above) if "name" in entry.value]
    if len(names) == 2 and names[0] != names[1]:
        return above
    # A section keeps its place if the command line only sets keys in it.
    place = below.place if above.place == COMMAND_LINE and len(names) < 2 else above.place
    return Entry({**below.value, **above.value}, place)


def _files(path: Path) -> tuple[list[Layer], list[PluginReference], list[Problem]]:
    """Layers of a recipe file, its deepest base first, their plugin files and problems."""
    layers: list[Layer] = []
    plugins: list[PluginReference] = []
    problems: list[Problem] = []
    seen: list[Path] = []
    base: Entry | None = None
    while True:
        if base is not None and not path.is_file():
            raise RecipeError(f"{base.place}: base: no such recipe file {str(path)!r}")
        if base is not None and any(path.samefile(one) for one in seen):
            chain = " -> ".join(str(one) for one in (*seen, path))
            raise RecipeError(f"{base.place}: base: circular reference: {chain}")
        layer, found = read_file(path)
        problems += found
        seen.append(path)
        base = layer.pop("base", None)
        if "plugins" in layer:
            plugins += _plugins(path, layer.pop("plugins"), problems)
        layers.insert(0, _long_forms(layer))
        if base is None:
            return layers, plugins, problems
        path = _base_path(path, base)


def _base_path(recipe: Path, base: Entry) -> Path:
    if not isinstance(base.value, str) or not base.value:
        raise RecipeError(f"{base.place}: base: expected the path of a recipe, as in ../base.yaml")
    path = _beside(recipe, base.value)
    return path if path.is_file() else shipped_recipes().get(base.value, path)


def _beside(recipe: Path, written: str) -> Path:
    """The path that is written in a recipe file."""
    return Path(os.path.normpath(recipe.parent / expanded(written)))


def _plugins(recipe: Path, entry: Entry, problems: list[Problem]) -> Iterator[PluginReference]:
    """Plugin files of a recipe. Their paths are relative to it."""
    if any(problem.key.startswith("plugins[") for problem in problems):
        return  # reported while reading
    if not isinstance(entry.value, list) or not all(isinstance(one, str) for one in entry.value):
        text = "expected a list of plugin files, as in [my_loss.py]"
        problems.append(Problem(entry.place, "plugins", text))
        return
    for index, one in enumerate(entry.value):
        key = f"plugins[{index}]"
        path = _beside(recipe, one)
        yield PluginReference(path, entry.inside.get(key, entry.place), key)


def override_layer(
    overrides: Sequence[tuple[str, str] | Override],
) -> tuple[Layer, list[Problem]]:
    """Merge overrides into one layer.

    Overrides of whole sections apply before overrides of single keys, in any order of arguments.

    Returns:
        The layer, and the problems of reading it.
    """
    layer: Layer = {}
    problems: list[Problem] = []
    for override in sorted((Override(*one) for one in overrides), key=lambda one: "." in one.key):
        entry, found = read_override(override)
        problems += found
        section, dot, key = override.key.partition(".")
        if section in ("base", "plugins", "sweep"):
            text = "can only be given in a recipe file"
            problems.append(Problem(override.place, override.key, text))
        elif not dot:
            layer[section] = _long_form(section, entry)
        else:
            current = layer.get(section, Entry({}, COMMAND_LINE))
            if isinstance(current.value, dict):
                layer[section] = Entry({**current.value, key: entry}, COMMAND_LINE)
    return layer, problems


def _long_forms(layer: Layer) -> Layer:
    return {section: _long_form(section, entry) for section, entry in layer.items()}


def _long_form(section: str, entry: Entry) -> Entry:
    """`loss: tree_min` is short for `loss: {name: tree_min}`."""
    registry = by_section().get(section)
    if registry and not registry.kind.many and isinstance(entry.value, str):
        return Entry({"name": Entry(entry.value, entry.place)}, entry.place)
    return entry
