"""Plugin files: single Python files that a recipe or a command names, or in a plugin folder.

A file registers its components with `@registry.losses.register("my_loss")`. Its components belong
to the file instead of the whole process. The registries know them while a recipe that names the
file is used, or if the file is in a folder on the plugin path.
"""

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from hieraseg.errors import HierasegError, RecipeError, from_here
from hieraseg.files.paths import expanded, is_utf8, keep_working_directory, shown
from hieraseg.registry.static import Registration, fault_in, imported_from, parse, registrations_in

FOLDERS = "HIERASEG_PLUGINS"
"""Environment variable with plugin folders, separated as in PATH."""

Components = dict[tuple[str, str], Any]
"""Components by kind and name."""


class Collecting(NamedTuple):
    """The plugin file that is being run: its module name, and its components so far."""

    module: str
    components: Components


collecting: ContextVar[Collecting | None] = ContextVar("collecting", default=None)
"""None while no plugin file is being run."""


@dataclass(frozen=True)
class PluginFile:
    """Content of a plugin file at the time of reading it.

    Args:
        path: absolute path.
        source: content.
    """

    path: Path
    source: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "PluginFile":
        """Read a plugin file.

        Raises:
            RecipeError: the file cannot be read, or no recipe could name its path.
        """
        absolute = Path(os.path.abspath(path))
        if "${" in str(absolute):
            raise RecipeError(
                f"plugin file {str(path)!r}: the path must not contain ${{, since recipes replace "
                "variables"
            )
        if not is_utf8(absolute):  # neither could the run folder's recipe
            raise RecipeError(
                f"plugin file {shown(absolute)}: the path must be UTF-8, as recipes are; rename it"
            )
        try:
            return _known(cls(absolute, path.read_bytes()))
        except FileNotFoundError:
            raise RecipeError(f"no such plugin file {str(path)!r}") from None
        except IsADirectoryError:
            raise RecipeError(
                f"plugin file {str(path)!r} is a folder; name a file, or list it in {FOLDERS}"
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RecipeError(f"plugin file {str(path)!r} cannot be read: {reason}") from error

    @cached_property
    def sha256(self) -> str:
        """Hash of the content."""
        return hashlib.sha256(self.source).hexdigest()

    @property
    def shown(self) -> str:
        """Path for messages, relative to the working directory if it is inside."""
        return from_here(self.path)

    @cached_property
    def _read(self) -> tuple[list[Registration], str]:
        try:
            tree = parse(self.source)
        except ValueError as error:
            return [], str(error)
        return registrations_in(tree), fault_in(tree) or self.imports_neighbor

    @cached_property
    def imports_neighbor(self) -> str:
        """That it imports a file beside it, of which a run would have no copy; empty if not."""
        try:
            other = imported_from(self.path.parent, parse(self.source))
        except ValueError:
            return ""
        return f"imports {other.name} beside it, but {_SELF_CONTAINED}" if other else ""

    @property
    def registrations(self) -> list[Registration]:
        """Components that it registers, according to its source. It is not run."""
        return [one for one in self._read[0] if one.name]

    @property
    def fault(self) -> str:
        """Why it cannot be run, as far as its source tells; empty otherwise."""
        return self._read[1]

    @property
    def unnamed(self) -> list[Registration]:
        """Registrations whose name is not a string literal, so that it is unknown until it runs."""
        return [one for one in self._read[0] if not one.name]

    def components(self) -> Components:
        """Run the file, once for each content, and return the components that it registers.

        Raises:
            RecipeError: the file cannot be run, or registers no component.
        """
        components, failure = _run(self)
        if failure:
            raise RecipeError(failure)
        return components


def plugin_folders() -> list[Path]:
    """Folders on the plugin path: `plugins` in the working directory, and HIERASEG_PLUGINS."""
    return [folder for folder in (Path("plugins"), *_listed_folders()) if folder.is_dir()]


def broken_files() -> dict[str, str]:
    """Problems of the plugin path by place, as far as known without running anything.

    Files with known registrations are left out, since `Registry.faults` has their problems.
    """
    broken = {
        str(folder): f"no such folder; remove it from {FOLDERS}"
        for folder in _listed_folders()
        if not folder.is_dir()
    }
    for path in _paths_on_path():
        try:
            file = PluginFile.read(path)
        except RecipeError as error:
            broken[shown(path)] = str(error)
            continue
        if file.fault and not file.registrations:
            broken[file.shown] = file.fault
        for one in file.unnamed:
            broken[f"{file.shown}:{one.line}"] = (
                f"registers a name in {one.kind} that is not a string literal, as plugin folders "
                "need; write the name out, or use --plugin"
            )
    return broken


def _listed_folders() -> list[Path]:
    listed = os.environ.get(FOLDERS, "").split(os.pathsep)
    return [expanded(folder) for folder in listed if folder]


def files_on_path() -> Iterator[PluginFile]:
    """Python files in the plugin folders, as far as they can be read."""
    for path in _paths_on_path():
        with suppress(RecipeError):  # `broken_files` has it
            yield PluginFile.read(path)


def _paths_on_path() -> Iterator[Path]:
    """Python files in the plugin folders, without tests, hidden files and those with a `_`."""
    seen = set()
    for folder in plugin_folders():
        for path in sorted(folder.glob("*.py")):
            known = path.resolve()
            if path.stem.startswith((".", "_", "test_")) or path.stem == "conftest":
                continue
            if known not in seen:
                seen.add(known)
                yield path


@lru_cache(maxsize=1024)
def _known(file: PluginFile) -> PluginFile:
    """The equal file that was read before, with its cached properties."""
    return file


class _Loader(SourceFileLoader):
    """Loader of the source that was read. It uses no `.pyc` file, which could be stale."""

    def __init__(self, fullname: str, file: PluginFile) -> None:
        super().__init__(fullname, str(file.path))
        self.file = file

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.file.source, str(self.file.path))

    def get_data(self, path: str) -> bytes:
        return self.file.source if path == self.path else super().get_data(path)


@lru_cache(maxsize=256)
def _run(file: PluginFile) -> tuple[Components, str]:
    """Run a file. Returns its components, or why there are none."""
    if file.imports_neighbor:
        return {}, f"{file.shown} {file.imports_neighbor}"
    # By path, too: copies in run folders are other modules, each with classes of its own.
    key = hashlib.sha256(os.fsencode(file.path) + b"\0" + file.source).hexdigest()
    name = f"hieraseg_plugin_{file.path.stem}_{key[:8]}"
    loader = _Loader(name, file)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # type hints and dataclasses look it up
    components: Components = {}
    token = collecting.set(Collecting(name, components))
    paths = list(sys.path)
    try:
        with keep_working_directory():
            loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a plugin's code may fail in any way
        del sys.modules[name]
        return {}, _failure(file, error)
    finally:
        collecting.reset(token)
        changes_path, sys.path[:] = sys.path != paths, paths
    if changes_path:
        return {}, f"{file.shown} changes sys.path, but {_SELF_CONTAINED}"
    if not components:
        return {}, (
            f"{file.shown} registers no component; decorate one, as in "
            '@registry.losses.register("my_loss")'
        )
    return components, ""


_SELF_CONTAINED = "a plugin file must be self-contained; for several files, make a package"


def _failure(file: PluginFile, error: BaseException) -> str:
    """Why a file cannot be run, in one sentence."""
    if isinstance(error, HierasegError):
        return f"{file.shown} cannot be used: {error}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file.path)
    ]
    line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
    where = f"{file.shown}:{line}" if line else file.shown
    what = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    hint = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        beside = file.path.with_name(error.name.partition(".")[0] + ".py")
        if beside.is_file():
            hint = f"; {_SELF_CONTAINED}"
    return f"{where} cannot be imported: {type(error).__name__}: {what}{hint}"
