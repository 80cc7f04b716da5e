"""Put the layers of a recipe on top of each other: base recipes, the recipe, the command line."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hieraseg.errors import RecipeError
from hieraseg.recipe.reading import (
    COMMAND_LINE,
    Entry,
    Layer,
    Place,
    Problem,
    read_file,
    read_override,
)
from hieraseg.recipe.shipped import shipped_recipes
from hieraseg.registry import by_section


class Named(NamedTuple):
    """A file that a recipe names, and where."""

    path: Path
    place: Place
    key: str


class Composed(NamedTuple):
    """A recipe's layers as one.

    Attributes:
        sections: with the place of each value.
        plugins: the plugin files of all layers.
        problems: found while reading.
    """

    sections: Layer
    plugins: list[Named]
    problems: list[Problem]


def compose(path: Path, overrides: Sequence[tuple[str, str]]) -> Composed:
    """All sections of a recipe, its base recipes and overrides merged in.

    Raises:
        RecipeError: a file is missing, or no YAML; a base that leads back to itself.
    """
    layers, plugins, problems = _files(path)
    typed, typing_problems = override_layer(overrides)
    composed: Layer = {}
    for layer in (*layers, typed):
        composed = merge(composed, layer)
    return Composed(composed, plugins, problems + typing_problems)


def merge(below: Layer, above: Layer) -> Layer:
    """Two layers as one; where both say something, the one above is right."""
    merged = dict(below)
    for section, entry in above.items():
        merged[section] = _merge_section(merged[section], entry) if section in merged else entry
    return merged


def _merge_section(below: Entry, above: Entry) -> Entry:
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    names = [entry.value["name"].value for entry in (below, above) if "name" in entry.value]
    if len(names) == 2 and names[0] != names[1]:
        return above
    # A single key from the command line leaves the section where it was written.
    place = below.place if above.place == COMMAND_LINE and len(names) < 2 else above.place
    return Entry({**below.value, **above.value}, place)


def _files(path: Path) -> tuple[list[Layer], list[Named], list[Problem]]:
    """The layers of a recipe file, its deepest base first, and the plugin files they name."""
    layers: list[Layer] = []
    plugins: list[Named] = []
    problems: list[Problem] = []
    seen: list[Path] = []
    base: Entry | None = None
    while True:
        if base is not None and not path.is_file():
            raise RecipeError(f"{base.place}: base: no such recipe file {str(path)!r}")
        if base is not None and any(path.samefile(one) for one in seen):
            chain = " -> ".join(str(one) for one in (*seen, path))
            raise RecipeError(f"{base.place}: base: leads back to itself: {chain}")
        layer, found = read_file(path)
        problems += found
        seen.append(path)
        base = layer.pop("base", None)
        if "plugins" in layer:
            plugins += _plugins(path, layer.pop("plugins"), problems)
        layers.insert(0, {section: _long_form(section, entry) for section, entry in layer.items()})
        if base is None:
            return layers, plugins, problems
        path = _base_path(path, base)


def _base_path(recipe: Path, base: Entry) -> Path:
    if not isinstance(base.value, str) or not base.value:
        raise RecipeError(f"{base.place}: base: expected the path of a recipe, as in ../base.yaml")
    path = Path(os.path.normpath(recipe.parent / base.value))
    return path if path.is_file() else shipped_recipes().get(base.value, path)


def _plugins(recipe: Path, entry: Entry, problems: list[Problem]) -> Iterator[Named]:
    """The plugin files that a recipe names; their paths are relative to it."""
    if any(problem.key.startswith("plugins[") for problem in problems):
        return  # said already
    if not isinstance(entry.value, list) or not all(isinstance(one, str) for one in entry.value):
        text = "expected a list of plugin files, as in [my_loss.py]"
        problems.append(Problem(entry.place, "plugins", text))
        return
    for index, one in enumerate(entry.value):
        key = f"plugins[{index}]"
        path = Path(os.path.normpath(recipe.parent / one))
        yield Named(path, entry.inside.get(key, entry.place), key)


def override_layer(overrides: Sequence[tuple[str, str]]) -> tuple[Layer, list[Problem]]:
    """The command line as one layer: whole sections first, then keys, whatever their order."""
    layer: Layer = {}
    problems: list[Problem] = []
    for dotted, text in sorted(overrides, key=lambda override: "." in override[0]):
        entry, found = read_override(dotted, text)
        problems += found
        section, dot, key = dotted.partition(".")
        if section in ("base", "plugins"):
            problems.append(Problem(COMMAND_LINE, dotted, "can only be given in a recipe file"))
        elif not dot:
            layer[section] = _long_form(section, entry)
        else:
            current = layer.get(section, Entry({}, COMMAND_LINE))
            if isinstance(current.value, dict):
                layer[section] = Entry({**current.value, key: entry}, COMMAND_LINE)
    return layer, problems


def _long_form(section: str, entry: Entry) -> Entry:
    """`loss: tree_min` is short for `loss: {name: tree_min}`."""
    if section in by_section() and isinstance(entry.value, str):
        return Entry({"name": Entry(entry.value, entry.place)}, entry.place)
    return entry
