"""One registry per kind of component, on top of catalogue.

A component is known from its package's entry points (group `hieraseg_<kind>`), from a plugin file
(see `plugin_files`), or from `@registry.losses.register("my_loss")` in a module that was imported.
Names, origins and what is plainly broken are told without importing anything. A plugin that
cannot be imported hurts only a recipe that names it.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import catalogue

from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.plugin_files import PluginFile, broken_files, collecting, files_on_path
from hieraseg.plugin_source import Registration, fault_of

Component = TypeVar("Component")


@dataclass(frozen=True)
class Listing:
    """A component before it is imported.

    Attributes:
        name: in its registry.
        origin: `package (module:attribute)`, `module:attribute` or `file:line`.
        load: imports and returns it.
        target: `module:attribute`, if it is part of a module.
        source: the Python file it is registered in, where that is known.
        file: the plugin file that it is part of, if any.
        fault: why it cannot be imported, as far as that can be told before; else empty.
    """

    name: str
    origin: str
    load: Callable[[], Any] = field(repr=False)
    target: str = ""
    source: Path | None = None
    file: PluginFile | None = None
    fault: str = ""


class Registry:
    """The components of one kind, by name.

    Args:
        kind: plural name of the kind, as in `losses`.
        section: the recipe section that names one of them, as in `loss`.
    """

    def __init__(self, kind: str, section: str) -> None:
        self.kind = kind
        self.section = section
        self._catalogue = catalogue.create("hieraseg", kind, entry_points=True)

    def register(self, name: str) -> Callable[[Component], Component]:
        """Register the decorated class or function under a name.

        Raises:
            RecipeError: the name is no text without blanks, or another component of this kind
                already has it.
        """
        if not isinstance(name, str) or not name.isprintable() or not name or " " in name:
            raise RecipeError(f"{self.section}: {name!r} is no name for a component")

        def decorate(component: Component) -> Component:
            running = collecting.get()
            # A module that the plugin file imports is no part of it.
            if running and _module_being_run() == running.module:
                if (self.kind, name) in running.components:
                    raise RecipeError(f"it registers the {self.section} {name!r} twice")
                running.components[self.kind, name] = component
                return component
            own = _listing_of(name, component)
            for taken in self.listings().get(name, []):
                if not _is_same(own, taken):
                    raise RecipeError(self._twice(name, taken, own))
            self._catalogue.register(name, func=component)
            return component

        return decorate

    def names(self) -> list[str]:
        """Names of all components of this kind, sorted; imports none of them."""
        return sorted(self.listings())

    def origins(self) -> dict[str, str]:
        """Where each component comes from, by name; imports none of them."""
        found = sorted(self.listings().items())
        return {name: " and ".join(one.origin for one in listings) for name, listings in found}

    def faults(self) -> dict[str, str]:
        """Names that cannot be used, and why, as far as it can be told without importing."""
        faults = {}
        for name, listings in sorted(self.listings().items()):
            if len(listings) > 1:
                faults[name] = self._twice(name, *listings[:2])
            elif listings[0].fault:
                faults[name] = self._broken(listings[0], listings[0].fault)
        return faults

    def find(self, name: str) -> Listing:
        """What is registered under a name, not imported yet.

        Raises:
            RecipeError: nothing is, or more than one.
        """
        listings = self.listings()
        if name not in listings:
            hint = did_you_mean(name, sorted(listings))
            unread = "; ".join(f"{place}: {why}" for place, why in broken_files().items())
            broken = f" (broken plugins: {unread})" if unread else ""
            raise RecipeError(f"no {self.section} is called {name!r}, {hint}{broken}")
        if len(listings[name]) > 1:
            raise RecipeError(self._twice(name, *listings[name][:2]))
        return listings[name][0]

    def get(self, name: str) -> Any:
        """The class or function registered under a name.

        Raises:
            RecipeError: no component has this name, or several have, or it cannot be imported.
        """
        found = self.find(name)
        try:
            with redirect_stdout(sys.stderr):  # stdout is for results
                return found.load()
        except RecipeError as error:
            raise RecipeError(f"{self.section} {name!r}: {error}") from error
        except (Exception, SystemExit) as error:  # a plugin's import may fail in any way
            raise RecipeError(self._broken(found, f"{type(error).__name__}: {error}")) from error

    def listings(self) -> dict[str, list[Listing]]:
        """By name; more than one where several components claim it."""
        found: dict[str, list[Listing]] = {}
        for one in self._all():
            claims = found.setdefault(one.name, [])
            if not any(_is_same(one, other) for other in claims):
                claims.append(one)
        return found

    def _all(self) -> Iterator[Listing]:
        files, shadow = _recipe_files.get()
        own = [
            _listing_in(file, one)
            for file in files
            for one in registered_by(file)
            if one.kind == self.kind
        ]
        shadowed = {one.name for one in own if shadow}
        yield from (one for one in self._others(files) if one.name not in shadowed)
        yield from own

    def _others(self, files: Sequence[PluginFile]) -> Iterator[Listing]:
        """What is registered beside a recipe's own files."""
        for point in self._catalogue._get_entry_points():
            yield _listing_at(point)
        for (*_, name), component in catalogue._get_all(("hieraseg", self.kind)).items():
            yield _listing_of(name, component)
        contents = {file.sha256 for file in files}
        for file in files_on_path():
            if file.sha256 not in contents:
                yield from (
                    _listing_in(file, one) for one in file.registrations if one.kind == self.kind
                )

    def _twice(self, name: str, first: Listing, second: Listing) -> str:
        return (
            f"{self.section} {name!r} is registered twice, by {first.origin} and by "
            f"{second.origin}: give one of them another name, or remove it"
        )

    def _broken(self, one: Listing, reason: str) -> str:
        return f"{self.section} {one.name!r} of {one.origin} cannot be imported: {reason}"


def _module_being_run() -> str:
    """Name of the module whose own lines are run, perhaps through functions; empty for none."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            return str(frame.f_globals.get("__name__"))
        frame = frame.f_back
    return ""


class _RecipeFiles(NamedTuple):
    files: tuple[PluginFile, ...]
    shadow: bool


_NO_FILES = _RecipeFiles((), False)
_recipe_files: ContextVar[_RecipeFiles] = ContextVar("recipe_files", default=_NO_FILES)


@contextmanager
def plugin_files(files: Sequence[PluginFile], shadow: bool = False) -> Iterator[None]:
    """A recipe's own plugin files, known to the registries inside this context alone.

    Args:
        files: each is run when anything is looked up; a broken one hurts only who names it.
        shadow: whether they hide all else that is registered under the same names, as the copies
            in a run folder do; else such a name is one that is registered twice.
    """
    token = _recipe_files.set(_RecipeFiles(tuple(files), shadow))
    try:
        yield
    finally:
        _recipe_files.reset(token)


@lru_cache(maxsize=1024)  # the package's metadata are parsed each time they are asked for
def _listing_at(point: EntryPoint) -> Listing:
    package = point.dist.name if point.dist else "unknown package"
    origin = f"{package} ({point.value})"
    return Listing(point.name, origin, point.load, point.value, fault=fault_of(point))


def _listing_of(name: str, component: Any) -> Listing:
    """Of a component that is there."""
    try:
        source = Path(inspect.getsourcefile(component) or "").resolve()
    except TypeError:
        source = None
    origin = f"{component.__module__}:{component.__qualname__}"
    return Listing(name, origin, lambda: component, origin, source)


def _listing_in(file: PluginFile, one: Registration) -> Listing:
    def load() -> Any:
        components = file.components()
        if (one.kind, one.name) not in components:
            raise RecipeError(f"{file.shown} did not register it when it was run")
        return components[one.kind, one.name]

    origin = f"{file.shown}:{one.line}" if one.line else file.shown
    source = file.path.resolve()
    return Listing(one.name, origin, load, source=source, file=file, fault=file.fault)


def registered_by(file: PluginFile) -> list[Registration]:
    """What a file registers when it is run; of a broken one, what its text says."""
    try:
        components = file.components()
    except RecipeError:
        return [one for one in file.registrations if one.kind in BY_KIND]
    lines = {(kind, name): line for kind, name, line in file.registrations}
    return [Registration(kind, name, lines.get((kind, name), 0)) for kind, name in components]


def _is_same(one: Listing, other: Listing) -> bool:
    """Whether two listings are one component that was found in two ways."""
    if one.file is not None or other.file is not None:
        return one.source is not None and one.source == other.source
    return one.target == other.target


backbones = Registry("backbones", "backbone")
decoders = Registry("decoders", "decoder")
hierarchies = Registry("hierarchies", "hierarchy")
datasets = Registry("datasets", "data")
losses = Registry("losses", "loss")
inference = Registry("inference", "inference")
optimizers = Registry("optimizers", "optimizer")
schedules = Registry("schedules", "schedule")

ALL = (hierarchies, datasets, backbones, decoders, losses, inference, optimizers, schedules)
BY_KIND = {registry.kind: registry for registry in ALL}
BY_SECTION = {registry.section: registry for registry in ALL}


def __getattr__(attribute: str) -> Any:
    """What there is no such registry of, said so that a plugin's author can mend it."""
    by_section = BY_SECTION.get(attribute)
    hint = f"did you mean {by_section.kind!r}?" if by_section else did_you_mean(attribute, BY_KIND)
    raise AttributeError(f"hieraseg.registry has no {attribute!r}, {hint}")
