"""The registry of one kind of component, on top of catalogue.

A component is found through a package's entry points (group `hieraseg_<kind>`), in a plugin file
(see `registry.files`), or because `@registry.losses.register("my_loss")` ran when its module was
imported. Names, origins and many faults are known without importing anything. A plugin that
cannot be imported fails only the recipes that name it.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import catalogue

from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.files.paths import keep_working_directory
from hieraseg.registry.files import PluginFile, broken_files, collecting, files_on_path
from hieraseg.registry.kinds import Kind, all_kinds
from hieraseg.registry.sources import loaded_sources
from hieraseg.registry.static import Registration, fault_of
from hieraseg.tracebacks import source_file

Component = TypeVar("Component")


@dataclass(frozen=True)
class Listing:
    """A component that is not imported yet.

    Attributes:
        name: name in its registry.
        origin: `package (module:attribute)`, `module:attribute` or `file:line`.
        load: function that imports and returns it.
        target: `module:attribute`, if it is part of a module.
        source: Python file that registers it, if known.
        file: plugin file that it is part of, if any.
        fault: why it cannot be imported, as far as static analysis tells; empty otherwise.
    """

    name: str
    origin: str
    load: Callable[[], Any] = field(repr=False)
    target: str = ""
    source: Path | None = None
    file: PluginFile | None = None
    fault: str = ""


class Registry:
    """Components of one kind by name.

    Args:
        kind: entry in the table of kinds.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._registered = catalogue.create("hieraseg", kind.name)

    @property
    def section(self) -> str:
        """Recipe section of the kind, as in `loss`."""
        return self.kind.section

    @property
    def singular(self) -> str:
        """What one of its components is called, as in `loss`."""
        return self.kind.singular

    def register(self, name: str) -> Callable[[Component], Component]:
        """Decorator that registers a class or function.

        Args:
            name: name of the component in recipes.

        Raises:
            RecipeError: the name is empty or not printable, or contains spaces; or another
                component of this kind has the same name.
        """
        if not isinstance(name, str) or not name.isprintable() or not name or " " in name:
            raise RecipeError(
                f"{self.singular}: invalid name {name!r}; use a non-empty string without spaces"
            )

        def decorate(component: Component) -> Component:
            running = collecting.get()
            # A module that the plugin file imports is not part of it.
            if running and _running_module() == running.module:
                if (self.kind.name, name) in running.components:
                    raise RecipeError(f"it registers the {self.singular} {name!r} twice")
                running.components[self.kind.name, name] = component
                return component
            own = _listing_of(name, component)
            for other in self.listings().get(name, []):
                if not _is_same(own, other):
                    raise RecipeError(self._duplicate(name, other, own))
            self._registered.register(name, func=component)
            return component

        return decorate

    def names(self) -> list[str]:
        """Names of all components, sorted. Imports none of them."""
        return sorted(self.listings())

    def origins(self) -> dict[str, str]:
        """Origin of each component by name. Imports none of them."""
        found = sorted(self.listings().items())
        return {name: " and ".join(one.origin for one in listings) for name, listings in found}

    def faults(self) -> dict[str, str]:
        """Names that cannot be used and why, as far as known without importing."""
        faults = {}
        for name, listings in sorted(self.listings().items()):
            if len(listings) > 1:
                faults[name] = self._duplicate(name, *listings[:2])
            elif listings[0].fault:
                faults[name] = self._broken(listings[0], listings[0].fault)
        return faults

    def find(self, name: str) -> Listing:
        """The component with this name, not imported yet.

        Raises:
            RecipeError: there is none, or more than one.
        """
        listings = self.listings()
        if name not in listings:
            hint = did_you_mean(name, sorted(listings))
            unread = "; ".join(f"{place}: {why}" for place, why in broken_files().items())
            broken = f" (broken plugins: {unread})" if unread else ""
            raise RecipeError(f"unknown {self.singular} {name!r}, {hint}{broken}")
        if len(listings[name]) > 1:
            raise RecipeError(self._duplicate(name, *listings[name][:2]))
        return listings[name][0]

    def get(self, name: str) -> Any:
        """Import the component with this name.

        Returns:
            The class or function.

        Raises:
            RecipeError: there is none, there is more than one, or it cannot be imported.
        """
        found = self.find(name)
        try:
            with keep_working_directory():
                component = found.load()
            if callable(component):
                loaded_sources(component)  # read now: files may be edited while runs go on
            return component
        except RecipeError as error:
            raise RecipeError(f"{self.singular} {name!r}: {error}") from error
        except (Exception, SystemExit) as error:  # importing a plugin can raise anything
            raise RecipeError(self._broken(found, f"{type(error).__name__}: {error}")) from error

    def listings(self) -> dict[str, list[Listing]]:
        """Components by name; a list of several where the name is not unique."""
        found: dict[str, list[Listing]] = {}
        for one in self._all():
            same_name = found.setdefault(one.name, [])
            if not any(_is_same(one, other) for other in same_name):
                same_name.append(one)
        return found

    def _all(self) -> Iterator[Listing]:
        files, shadow = _recipe_files.get()
        own = [
            _listing_in(file, one)
            for file in files
            for one in registered_by(file)
            if one.kind == self.kind.name
        ]
        shadowed = {one.name for one in own if shadow}
        yield from (one for one in self._others(files) if one.name not in shadowed)
        yield from own

    def _others(self, files: Sequence[PluginFile]) -> Iterator[Listing]:
        """Components that the recipe's own plugin files do not register."""
        for point in _entry_points(self.kind.group, tuple(sys.path)):
            yield _listing_at(point)
        for name, component in self._registered.get_all().items():
            yield _listing_of(name, component)
        contents = {file.sha256 for file in files}
        for file in files_on_path():
            if file.sha256 not in contents:
                yield from (
                    _listing_in(file, one)
                    for one in file.registrations
                    if one.kind == self.kind.name
                )

    def _duplicate(self, name: str, first: Listing, second: Listing) -> str:
        return (
            f"duplicate {self.singular} {name!r}: registered by {first.origin} and by "
            f"{second.origin}; rename or remove one of them"
        )

    def _broken(self, one: Listing, reason: str) -> str:
        return f"{self.singular} {one.name!r} of {one.origin} cannot be imported: {reason}"


def _running_module() -> str:
    """Name of the module whose top level is being executed; empty if none is."""
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
    """Make a recipe's own plugin files known to the registries, inside this context only.

    Args:
        files: plugin files; each is run when a component is looked up, and a broken one fails
            only the recipes that name its components.
        shadow: whether their components hide others of the same name, as the copies in a run
            folder do; otherwise a name that exists already is an error.
    """
    token = _recipe_files.set(_RecipeFiles(tuple(files), shadow))
    try:
        yield
    finally:
        _recipe_files.reset(token)


@lru_cache(maxsize=64)  # the metadata of all installed packages are read each time
def _entry_points(group: str, path: tuple[str, ...]) -> EntryPoints:
    """The entry points of a group that are found on a search path, which is `sys.path`."""
    return entry_points(group=group)


@lru_cache(maxsize=1024)  # fault_of reads and parses the module's source
def _listing_at(point: EntryPoint) -> Listing:
    package = point.dist.name if point.dist else "unknown package"
    origin = f"{package} ({point.value})"
    return Listing(point.name, origin, point.load, point.value, fault=fault_of(point))


def _listing_of(name: str, component: Any) -> Listing:
    """The listing of a component that is imported already."""
    file = source_file(component)
    source = None if file is None else file.resolve()
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
    """What a plugin file registers when it is run; of a broken one, what its source says."""
    try:
        components = file.components()
    except RecipeError:
        known = {kind.name for kind in all_kinds()}
        return [one for one in file.registrations if one.kind in known]
    lines = {(kind, name): line for kind, name, line in file.registrations}
    return [Registration(kind, name, lines.get((kind, name), 0)) for kind, name in components]


def _is_same(one: Listing, other: Listing) -> bool:
    """Whether two listings are the same component, found in two ways."""
    if one.file is not None or other.file is not None:
        return one.source is not None and one.source == other.source
    return one.target == other.target
