"""Plugins that are one Python file each: named by a recipe or a command, or in a plugin folder.

A file registers its components with `@registry.losses.register("my_loss")`. What it registers is
kept with the file, and is known to the registries only where the file is looked at: a recipe's own
files for that recipe alone, those of the plugin folders wherever the folder is on the plugin path.
"""

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from hieraseg.errors import HierasegError, RecipeError, from_here
from hieraseg.registry.static import Registration, fault_in, parsed, registrations_in

FOLDERS = "HIERASEG_PLUGINS"
"""The environment variable that lists plugin folders, separated as in PATH."""

Components = dict[tuple[str, str], Any]
"""By kind and name."""


class Collecting(NamedTuple):
    """The plugin file that is being run: its module's name, and what it registered so far."""

    module: str
    components: Components


collecting: ContextVar[Collecting | None] = ContextVar("collecting", default=None)
"""None while no plugin file is run."""


@dataclass(frozen=True)
class PluginFile:
    """A plugin file as it was when it was read, whatever becomes of it later.

    Attributes:
        path: absolute.
        source: its content.
    """

    path: Path
    source: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "PluginFile":
        """The file as it is now. Raises RecipeError where it cannot be read."""
        if "${" in str(path):
            raise RecipeError(f"plugin file {str(path)!r}: a recipe cannot name a path with ${{")
        try:
            return _known(cls(Path(os.path.abspath(path)), path.read_bytes()))
        except FileNotFoundError:
            raise RecipeError(f"no such plugin file {str(path)!r}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RecipeError(f"plugin file {str(path)!r} cannot be read: {reason}") from error

    @cached_property
    def sha256(self) -> str:
        """Of its content."""
        return hashlib.sha256(self.source).hexdigest()

    @property
    def shown(self) -> str:
        """Its path, from the working directory where it lies below it."""
        return from_here(self.path)

    @cached_property
    def _read(self) -> tuple[list[Registration], str]:
        try:
            tree = parsed(self.source)
        except ValueError as error:
            return [], str(error)
        return registrations_in(tree), fault_in(tree)

    @property
    def registrations(self) -> list[Registration]:
        """What it registers, as far as its text tells; nothing is run."""
        return [one for one in self._read[0] if one.name]

    @property
    def fault(self) -> str:
        """Why it cannot be run, as far as its text tells; else empty."""
        return self._read[1]

    @property
    def unnamed(self) -> list[Registration]:
        """What it registers by a name that is no plain text, so that only running it tells."""
        return [one for one in self._read[0] if not one.name]

    def components(self) -> Components:
        """What it registers; the file is run, once for each content.

        Raises:
            RecipeError: it cannot be run, or registers nothing.
        """
        components, failure = _run(self)
        if failure:
            raise RecipeError(failure)
        return components


def plugin_folders() -> list[Path]:
    """The plugin path: `plugins` in the working directory, and the folders of HIERASEG_PLUGINS."""
    return [folder for folder in (Path("plugins"), *_listed_folders()) if folder.is_dir()]


def broken_files() -> dict[str, str]:
    """What is wrong on the plugin path, as far as it can be told without running anything.

    A file whose registrations can be told is left out: these tell what is wrong with it.
    """
    broken = {
        str(folder): f"no such folder, which {FOLDERS} lists"
        for folder in _listed_folders()
        if not folder.is_dir()
    }
    for file in files_on_path():
        if file.fault and not file.registrations:
            broken[file.shown] = file.fault
        for one in file.unnamed:
            broken[f"{file.shown}:{one.line}"] = (
                f"registers one of {one.kind} by a name that is no plain text, which a plugin "
                "folder cannot tell; write the name out, or use --plugin"
            )
    return broken


def _listed_folders() -> list[Path]:
    listed = os.environ.get(FOLDERS, "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in listed if folder]


def files_on_path() -> Iterator[PluginFile]:
    """The Python files in the plugin folders, but for tests and those that start with `_`."""
    seen = set()
    for folder in plugin_folders():
        for path in sorted(folder.glob("*.py")):
            known = path.resolve()
            if path.stem.startswith(("_", "test_")) or path.stem == "conftest" or known in seen:
                continue
            seen.add(known)
            try:
                yield PluginFile.read(path)
            except RecipeError:
                continue  # a dangling link, say, which may be anything


@lru_cache(maxsize=1024)
def _known(file: PluginFile) -> PluginFile:
    """The same file as it was read before, with what was found out about it."""
    return file


class _Loader(SourceFileLoader):
    """Runs the bytes that were read: no `.pyc` beside the file, which could be older than it."""

    def __init__(self, fullname: str, file: PluginFile) -> None:
        super().__init__(fullname, str(file.path))
        self.file = file

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.file.source, str(self.file.path))


@lru_cache(maxsize=256)
def _run(file: PluginFile) -> tuple[Components, str]:
    """What a file registers, or why it does not."""
    name = f"hieraseg_plugin_{file.path.stem}_{file.sha256[:8]}"
    loader = _Loader(name, file)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # type hints and data classes look their module up
    components: Components = {}
    token = collecting.set(Collecting(name, components))
    paths = list(sys.path)
    try:
        with redirect_stdout(sys.stderr):  # stdout is for results
            loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a plugin's code may fail in any way
        del sys.modules[name]
        return {}, _failure(file, error)
    finally:
        collecting.reset(token)
        changes_path, sys.path[:] = sys.path != paths, paths
    if changes_path:
        return {}, f"{file.shown} changes sys.path, but {_STANDS_ALONE}"
    if not components:
        return {}, (
            f"{file.shown} registers no component: decorate one with "
            '@registry.losses.register("my_loss"), or as its kind may be'
        )
    return components, ""


_STANDS_ALONE = "a plugin file stands alone: for several files make a package"


def _failure(file: PluginFile, error: BaseException) -> str:
    """One sentence on a file that cannot be run."""
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
            hint = f"; {_STANDS_ALONE}"
    return f"{where} cannot be imported: {type(error).__name__}: {what}{hint}"
