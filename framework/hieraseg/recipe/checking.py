"""Check the composed sections against the signatures of the components that they name."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hieraseg.data.augmentation import Augmentation
from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.recipe.arguments import Argument, arguments_of
from hieraseg.recipe.reading import DEFAULT, Entry, Layer, Place, Problem
from hieraseg.recipe.resolved import Recipe
from hieraseg.recipe.spec import ComponentSpec, components_in
from hieraseg.recipe.values import registry_in
from hieraseg.registry import Registry, by_section, datasets
from hieraseg.registry.files import PluginFile
from hieraseg.settings import Evaluation, Logging, Training

CORE_SECTIONS: dict[str, type] = {
    "augmentation": Augmentation,
    "training": Training,
    "evaluation": Evaluation,
    "logging": Logging,
}
"""Sections that configure the core itself, and the class whose signature each is checked by."""

SECTIONS = (*by_section(), *CORE_SECTIONS)
"""All sections that a recipe can have, in the order in which it is printed."""


def check(
    path: Path, layer: Layer, plugins: Sequence[PluginFile] = (), require_paths: bool = False
) -> tuple[Recipe | None, list[Problem]]:
    """The resolved recipe, or None and everything that is wrong with it.

    Args:
        path: of the recipe.
        layer: its sections.
        plugins: its own plugin files, which the registries know meanwhile.
        require_paths: whether the files and folders that it names must be there.
    """
    checker = Checker(Place(str(path), 1), require_paths)
    for section in layer:
        if section not in SECTIONS:
            hint = did_you_mean(section, SECTIONS)
            checker.note(layer[section].place, section, f"unknown section, {hint}")
    components = {
        section: checker.component(section, registry, layer.get(section))
        for section, registry in by_section().items()
    }
    core = {
        section: checker.core(section, settings, layer.get(section))
        for section, settings in CORE_SECTIONS.items()
    }
    if checker.problems:
        return None, checker.problems
    named = {one.file: None for one in components_in(list(components.values())) if one.file}
    recipe = Recipe(
        path=path,
        plugins=tuple(dict.fromkeys([*plugins, *named])),
        components={section: one for section, one in components.items() if one is not None},
        augmentation=core["augmentation"],
        training=Training(**core["training"]),
        evaluation=Evaluation(**core["evaluation"]),
        logging=Logging(**core["logging"]),
        origin=checker.origin,
    )
    return recipe, []


class Checker:
    """Reads one section after the other; collects the problems and the origin of each value."""

    def __init__(self, start: Place, require_paths: bool) -> None:
        self.start = start
        self.require_paths = require_paths
        self.problems: list[Problem] = []
        self.origin: dict[str, str] = {}

    def note(self, place: Place, key: str, text: str) -> None:
        self.problems.append(Problem(place, key, " ".join(text.split())))

    def component(self, key: str, registry: Registry, entry: Entry | None) -> ComponentSpec | None:
        """What the section at a dotted key names."""
        if entry is None:
            known = ", ".join(registry.names())
            self.note(self.start, key, f"missing; choose one of {known}")
            return None
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
        owner = f"{registry.section} {name.value!r}"
        try:
            found = registry.find(name.value)
            factory = registry.get(name.value)
        except RecipeError as error:
            self.note(name.place, key, str(error))
            return None
        try:
            known_arguments = arguments_of(factory, supplied)
        except RecipeError as error:
            self.note(name.place, key, f"{owner} of {found.origin}: {error}")
            return None
        self.origin[f"{key}.name"] = str(name.place)
        where = Entry(settings, entry.place)
        arguments = self.arguments(key, owner, where, known_arguments, supplied)
        return ComponentSpec(registry.section, name.value, arguments, factory, found.file)

    def nested(self, key: str, registry: Registry, value: Any, given: Entry) -> Any:
        """An argument's value with what its sections name in their place.

        Args:
            key: dotted, as in `loss.losses[1]`.
            registry: of the components.
            value: null, one section or a list of them, plain.
            given: the argument's whole value.
        """
        if value is None:
            return None
        if isinstance(value, list):
            return [
                self.nested(f"{key}[{index}]", registry, item, given)
                for index, item in enumerate(value)
            ]
        place = given.inside.get(key, given.place)
        settings = {"name": value} if isinstance(value, str) else value
        entries = {
            name: Entry(item, given.inside.get(f"{key}.{name}", place), given.inside)
            for name, item in settings.items()
        }
        return self.component(key, registry, Entry(entries, place))

    def core(self, section: str, settings: type, entry: Entry | None) -> dict[str, Any]:
        entry = entry or Entry({}, DEFAULT)
        if not isinstance(entry.value, dict):
            self.note(entry.place, section, f"expected a mapping, got {_kind(entry.value)}")
            return {}
        arguments = self.arguments(section, section, entry, arguments_of(settings), frozenset())
        self._check_values(section, settings, entry, dict(arguments))
        return arguments

    def arguments(
        self,
        section: str,
        owner: str,
        entry: Entry,
        known: dict[str, Argument],
        supplied: Collection[str],
    ) -> dict[str, Any]:
        for key, given in entry.value.items():
            if key in supplied:
                self.note(given.place, f"{section}.{key}", "is supplied by the runner: remove it")
            elif key not in known:
                hint = did_you_mean(key, known)
                text = f"{owner} has no such key, {hint}" if known else f"{owner} has no keys"
                self.note(given.place, f"{section}.{key}", text)
        arguments = {}
        for key, argument in known.items():
            dotted = f"{section}.{key}"
            given = entry.value.get(key, Entry(argument.default, DEFAULT))
            if argument.required and given.place is DEFAULT:
                text = f"missing; {owner} needs it: {argument.meaning or 'no default'}"
                self.note(entry.place, dotted, text)
                continue
            self.origin[dotted] = str(given.place)
            try:
                arguments[key] = argument.read(given.value)
            except ValueError as error:
                self.note(given.place, dotted, str(error))
                continue
            value = arguments[key]
            is_given = self.require_paths and given.place is not DEFAULT
            if is_given and isinstance(value, Path) and not value.exists():
                of_data = section == datasets.section
                what = "data folder" if of_data else "file or folder"
                shown = str(value) if str(value).isprintable() else repr(str(value))
                text = f"{shown}: no such {what}; set {dotted} to one that is there"
                self.problems.append(Problem(given.place, dotted, text, of_data))
            registry = registry_in(argument.type)
            if registry is not None:
                arguments[key] = self.nested(dotted, registry, arguments[key], given)
        return arguments

    def _check_values(
        self, section: str, settings: type, entry: Entry, arguments: dict[str, Any]
    ) -> None:
        """Note what the class itself refuses, one key after the other.

        A refusal is noted at the first of the given keys that its message names, which is then
        left to its default, so that others come to light; else at the section.
        """
        while True:
            try:
                settings(**arguments)
            except ValueError as error:
                named = [key for key in str(error).split() if key in arguments.keys() & entry.value]
                if not named:
                    self.note(entry.place, section, str(error))
                    return
                self.note(entry.value[named[0]].place, f"{section}.{named[0]}", str(error))
                del arguments[named[0]]
            else:
                return


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else repr(value)
