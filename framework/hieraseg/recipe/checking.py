"""Check a recipe's sections against the signatures of the components that they name."""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.files.paths import DATA, data_folder, shown
from hieraseg.hierarchy.files import EXTENSIONS
from hieraseg.recipe.arguments import Argument, arguments_of
from hieraseg.recipe.conflicts import conflicts
from hieraseg.recipe.keywords import by_parameter, key_of
from hieraseg.recipe.moved import has_no_effect, moved, rewritten
from hieraseg.recipe.paths import paths_in
from hieraseg.recipe.reading import DEFAULT, Entry, Layer, Place, Problem
from hieraseg.recipe.resolved import Recipe
from hieraseg.recipe.spec import ComponentSpec, components_in
from hieraseg.recipe.values import is_path, registry_in
from hieraseg.registry import Registry, by_section, datasets, hierarchies
from hieraseg.registry.files import PluginFile
from hieraseg.registry.sections import settings_classes
from hieraseg.types import ArgumentError, violation

CORE_SECTIONS = settings_classes()
"""Sections that configure the framework itself, and the class that has their signature."""


def sections() -> list[str]:
    """All sections that a recipe can have, in the order in which it is printed."""
    return [*by_section(), *CORE_SECTIONS]


def check(
    path: Path,
    layer: Layer,
    plugins: Sequence[PluginFile] = (),
    require_paths: bool = False,
    trains: bool = True,
) -> tuple[Recipe | None, list[Problem]]:
    """Resolve a recipe, or find all of its problems.

    Args:
        path: path of the recipe.
        layer: its sections.
        plugins: its own plugin files, which the registries know meanwhile.
        require_paths: whether files and folders that it names must exist.
        trains: whether what is wrong with components that only training uses is a problem.

    Returns:
        The recipe, or None if there are problems, and the problems.
    """
    registries = by_section()
    unused = [] if trains else [one for one in registries if registries[one].kind.training_only]
    checker = Checker(Place(str(path), 1), require_paths, unused)
    for section in layer:
        if section not in sections():
            above, _, key = section.partition(".")
            hint = did_you_mean(section, [*sections(), "sweep"])
            if key and above in sections():
                hint = f"write {above}: {{{key}: ...}}"
            checker.note(layer[section].place, section, f"unknown section, {hint}")
    replaced = checker.replaced(layer)
    components = {
        section: checker.section(registry, layer.get(section))
        for section, registry in registries.items()
        if section not in replaced
    }
    core = {
        section: checker.core(section, settings, layer.get(section))
        for section, settings in CORE_SECTIONS.items()
    }
    if not all(problem.of_data for problem in checker.problems):
        return None, checker.problems
    built = {
        section: settings(**by_parameter(core[section]))
        for section, settings in CORE_SECTIONS.items()
    }
    recipe = Recipe(
        path=path,
        plugins=(),
        components={section: one for section, one in components.items() if one is not None},
        origin=checker.origin,
        **built,
    )
    problems = [*checker.problems, *conflicts(recipe, layer)]
    if problems:
        return None, problems
    used = [one.file for one in recipe.specs() if one.file]
    return replace(recipe, plugins=tuple(dict.fromkeys([*plugins, *used]))), []


class Checker:
    """Checks section by section, and collects problems and the origin of each value.

    Args:
        start: place of problems with what is missing.
        require_paths: whether files and folders must exist.
        unused: sections whose problems do not matter.

    Attributes:
        problems: all problems so far.
        origin: place of each value by dotted key.
        missing: dotted keys of required arguments that are not given.
    """

    def __init__(self, start: Place, require_paths: bool, unused: Collection[str] = ()) -> None:
        self.start = start
        self.require_paths = require_paths
        self.unused = unused
        self.problems: list[Problem] = []
        self.origin: dict[str, str] = {}
        self.missing: set[str] = set()

    def note(self, place: Place, key: str, text: str) -> None:
        """Add a problem."""
        if re.split(r"[.\[]", key)[0] in self.unused:
            return
        self.problems.append(Problem(place, key, " ".join(text.split())))

    def replaced(self, layer: Layer) -> set[str]:
        """Sections that others replace, as `model` does; a problem for each that is given."""
        replaced = set()
        for registry in by_section().values():
            entry = layer.get(registry.section)
            if entry is None or not isinstance(entry.value, dict) or "name" not in entry.value:
                continue  # which is a problem of its own
            for section in registry.kind.replaces:
                replaced.add(section)
                if section in layer:
                    place, text = layer[section].place, f"the recipe has {registry.section}"
                    self.note(place, section, f"{text}, which replaces it; remove one of them")
        return replaced

    def section(
        self, registry: Registry, entry: Entry | None
    ) -> ComponentSpec | list[ComponentSpec | None] | None:
        """The component of a section, or its list of components if the kind has many."""
        kind = registry.kind
        if entry is None:
            if kind.required:
                known = ", ".join(registry.names())
                self.note(self.start, kind.section, f"missing; choose one of {known}")
            if not kind.default:
                return [] if kind.many else None
            entry = Entry(list(kind.default), DEFAULT)
        if not kind.many:
            return self.component(kind.section, registry, entry)
        if not isinstance(entry.value, list):
            what = f"expected a list of {kind.name}, got {_kind(entry.value)}"
            self.note(entry.place, kind.section, what)
            return []
        items = list[ComponentSpec | None]()
        for index, value in enumerate(entry.value):
            key = f"{kind.section}[{index}]"
            item = self._item(key, registry, value, entry)
            if item is not None and item in items:
                place = entry.inside.get(key, entry.place)
                self.note(place, key, f"{item.name} is in the list already; remove it")
            items.append(item)
        return items

    def component(self, key: str, registry: Registry, entry: Entry) -> ComponentSpec | None:
        """The component at a dotted key."""
        if not isinstance(entry.value, dict) or "name" not in entry.value:
            what = "names no component; choose one of " + ", ".join(registry.names())
            if not isinstance(entry.value, dict):
                what = f"expected a name or a mapping with a name, got {_kind(entry.value)}"
            self.note(entry.place, key, what)
            return None
        settings = dict(entry.value)
        name = settings.pop("name")
        if not isinstance(name.value, str):
            self.note(name.place, f"{key}.name", f"expected a name, got {_kind(name.value)}")
            return None
        supplied = registry.kind.supplied
        owner = f"{registry.singular} {name.value!r}"
        try:
            found = registry.find(name.value)
            factory = registry.get(name.value)
        except RecipeError as error:
            self.note(name.place, key, f"{error}{_file_hint(registry, name.value)}")
            return None
        try:
            known_arguments = arguments_of(factory, supplied)
        except RecipeError as error:
            self.note(name.place, key, f"{owner} of {found.origin}: {error}")
            return None
        self.origin[f"{key}.name"] = str(name.place)
        if registry.section == datasets.section:
            self._set_root(key, settings, known_arguments, name)
        where = Entry(settings, entry.place)
        arguments = self.arguments(
            key, owner, where, known_arguments, supplied, kind=registry.section
        )
        given = {"name": name, **settings}
        places = {one: str(at.place) for one, at in given.items() if at.place is not DEFAULT}
        return ComponentSpec(registry.section, name.value, arguments, factory, found.file, places)

    def core(self, section: str, settings: type, entry: Entry | None) -> dict[str, Any]:
        """The arguments of a section that configures the framework itself."""
        entry = entry or Entry({}, DEFAULT)
        if not isinstance(entry.value, dict):
            self.note(entry.place, section, f"expected a mapping, got {_kind(entry.value)}")
            return {}
        arguments = self.arguments(section, section, entry, arguments_of(settings), frozenset())
        try:
            settings(**by_parameter(arguments))
        except ArgumentError as error:  # of arguments that do not go together
            key = key_of(error.argument)
            self.note(entry.value.get(key, entry).place, f"{section}.{key}", error.problem)
        return arguments

    def arguments(
        self,
        section: str,
        owner: str,
        entry: Entry,
        known: dict[str, Argument],
        supplied: Collection[str],
        kind: str = "",
    ) -> dict[str, Any]:
        """The arguments of a component or of a section of the framework itself.

        Args:
            section: dotted key of the component.
            owner: the component in messages.
            entry: the given arguments, a mapping of entries.
            known: arguments of the signature.
            supplied: arguments that the runner supplies.
            kind: section of its kind, where this is not the dotted key.
        """
        kind = kind or section
        for key, given in entry.value.items():
            if key in supplied:
                text = "is supplied by the runner; remove it"
                self.note(given.place, f"{section}.{key}", text)
            elif key not in known and not has_no_effect(kind, key, given.value):
                hint = did_you_mean(key, known)
                text = f"{owner} has no such key, {hint}" if known else f"{owner} has no keys"
                self.note(given.place, f"{section}.{key}", moved(kind, key) or text)
        arguments = {}
        for key, argument in known.items():
            dotted = f"{section}.{key}"
            given = entry.value.get(key, Entry(argument.default, DEFAULT))
            if argument.required and given.place is DEFAULT:
                text = f"missing; {owner} needs it: {argument.meaning or 'no default'}"
                self.note(entry.place, dotted, text)
                self.missing.add(dotted)
                continue
            self.origin[dotted] = str(given.place)
            try:
                arguments[key] = self._value(dotted, argument, given)
            except ValueError as error:
                self.note(given.place, dotted, f"{error}{rewritten(kind, key, given.value)}")
        return arguments

    def _value(self, key: str, argument: Argument, given: Entry) -> Any:
        """The value at a dotted key, with absolute paths, and specs of nested components.

        Raises:
            ValueError: the value has another type, or is out of range.
        """
        value = argument.read(given.value, given.place.folder)
        registry = registry_in(argument.type)
        if registry is not None:
            nested = self._nested(key, registry, value, given)
            for classes in _classes(nested):
                problem = violation(classes, argument.type)
                if problem:
                    raise ValueError(f"{problem} ({argument.meaning.rstrip('.')})")
            return nested
        if given.place is not DEFAULT:
            for inner, path in paths_in(value, key):
                place = given.inside.get(inner, given.place)
                self._require_path(path, inner, place, f"set {inner} to an existing one")
        return value

    def _nested(self, key: str, registry: Registry, value: Any, given: Entry) -> Any:
        """An argument's value with its sections replaced by specs.

        Args:
            key: dotted key, as in `loss.losses[1]`.
            registry: registry of the components.
            value: null, one section or a list of sections.
            given: entry of the whole argument.
        """
        if value is None:
            return None
        if isinstance(value, list):
            return [
                self._item(f"{key}[{index}]", registry, item, given)
                for index, item in enumerate(value)
            ]
        return self._item(key, registry, value, given)

    def _item(self, key: str, registry: Registry, value: Any, given: Entry) -> ComponentSpec | None:
        """The component of a plain value inside another entry."""
        place = given.inside.get(key, given.place)
        settings = {"name": value} if isinstance(value, str) else value
        if not isinstance(settings, dict):
            return self.component(key, registry, Entry(settings, place))
        entries = {
            name: Entry(item, given.inside.get(f"{key}.{name}", place), given.inside)
            for name, item in settings.items()
        }
        return self.component(key, registry, Entry(entries, place))

    def _set_root(
        self, key: str, settings: dict[str, Entry], known: dict[str, Argument], name: Entry
    ) -> None:
        """Set the folder of a data set that leaves it null (see `contracts.Dataset`)."""
        argument = known.get("root")
        if argument is None or argument.required or not is_path(argument.type):
            return
        if settings.get("root", Entry(argument.default, DEFAULT)).value is None:
            folder = _data_name(settings, known) or name.value
            root = data_folder(folder)
            settings["root"] = Entry(str(root), DEFAULT)
            fix = f"set {key}.root, or set {DATA} to the folder that has `{folder}` in it"
            self._require_path(root, f"{key}.root", name.place, f"{fix} (default: ./data)")

    def _require_path(self, path: Path, key: str, place: Place, fix: str) -> None:
        """Add a problem if a path does not exist, but must."""
        # Path.exists raises OSError for names that are too long.
        if self.require_paths and not os.path.exists(path):
            of_data = key.startswith(f"{datasets.section}.")
            text = f"{shown(path)}: no such {'data folder' if of_data else 'file or folder'}; {fix}"
            self.problems.append(Problem(place, key, text, of_data))


def _file_hint(registry: Registry, name: str) -> str:
    """How to name a class tree by its file; empty if the name is not that of such a file."""
    if registry.section != hierarchies.section or not name.lower().endswith(EXTENSIONS):
        return ""
    return f"; for a tree in a file, write {{name: file, path: {name}}}"


def _data_name(settings: dict[str, Entry], known: dict[str, Argument]) -> str | None:
    """The argument `dataset` of a component that reads any data set, if it is set."""
    argument = known.get("dataset")
    if argument is None:
        return None
    given = settings.get("dataset", Entry(argument.default, DEFAULT))
    try:
        value = argument.read(given.value, given.place.folder)
    except ValueError:
        return None  # reported with the other arguments
    return value if isinstance(value, str) else None


def _classes(value: Any) -> Iterator[Any]:
    """An argument's value with the classes or functions of its components.

    Then with those of each component of the kind inside another one, as in a `sum`, in its place.
    """
    if isinstance(value, list):
        outer = [next(_classes(one)) for one in value]
        yield outer
        for index, item in enumerate(value):
            for one in _classes(item):
                yield [*outer[:index], one, *outer[index + 1 :]]
    elif isinstance(value, ComponentSpec):
        kind = value.section
        yield from (one.factory for one in components_in(value) if one.section == kind)
    else:
        yield value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else repr(value)
