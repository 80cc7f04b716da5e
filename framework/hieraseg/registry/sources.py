"""The source code of a component: its module, and all of its package that this imports."""

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

_LEFT_OUT = {*sys.stdlib_module_names, "torch", "torchvision", "numpy", "hieraseg"}

_read: dict[str, tuple[Any, bytes]] = {}  # by module: its spec, another one once it is reloaded


def source_digest(component: Any) -> str:
    """SHA-256 of the source that a class or function is made of, as it was loaded.

    Part of it are its module, those of its base classes, and all that these import from their own
    packages. Python, torch, NumPy and hieraseg itself are left out.
    """
    loaded = loaded_sources(component)
    waiting = _modules_of(component)
    sources: dict[str, bytes] = {}
    while waiting:
        name = waiting.pop()
        if name not in sources and _package(name) not in _LEFT_OUT:
            sources[name] = loaded.get(name, b"")
            waiting += [one for one in _imports(name, sources[name]) if one in loaded]
    # Not by name: the copy of a plugin file in a run folder is another module.
    digests = sorted({hashlib.sha256(source).hexdigest() for source in sources.values()})
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def module_digest(component: Any) -> str | None:
    """SHA-256 of the module that defines a class or function, decorated or not, as it was loaded.

    Returns:
        None if it has no source, as one of an interactive session.
    """
    name = getattr(inspect.unwrap(component), "__module__", "")
    source = _source(name, sys.modules[name]) if name in sys.modules else b""
    return hashlib.sha256(source).hexdigest() if source else None


@cache
def loaded_sources(component: Any) -> Mapping[str, bytes]:
    """Sources of the loaded modules of the packages of a component and its base classes, by name.

    They are read in the first call, which should follow the import of the component: what is
    edited, removed or imported later makes it no other component.
    """
    packages = {_package(name) for name in _modules_of(component)} - _LEFT_OUT
    modules = {name: one for name, one in [*sys.modules.items()] if _package(name) in packages}
    return {name: _source(name, module) for name, module in modules.items()}


def _modules_of(component: Any) -> list[str]:
    classes = component.__mro__ if isinstance(component, type) else (component,)
    return [getattr(one, "__module__", "") for one in classes]


def _package(module: str) -> str:
    return module.partition(".")[0]


def _source(name: str, module: ModuleType) -> bytes:
    spec = getattr(module, "__spec__", None)
    if name not in _read or _read[name][0] is not spec:
        _read[name] = spec, _read_source(module)
    return _read[name][1]


def _read_source(module: ModuleType) -> bytes:
    file = getattr(module, "__file__", None)
    if file is None or not file.endswith(".py"):
        return b""
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    # That of a plugin file has what was run, whatever the file has become.
    read = getattr(loader, "get_data", lambda path: Path(path).read_bytes())
    try:
        return bytes(read(file))
    except OSError:
        return b""


def _imports(module: str, source: bytes) -> Iterator[str]:
    """Modules of the same top-level package, and other names, that a module imports."""
    package = getattr(sys.modules.get(module), "__package__", None) or ""
    for level, imported, names in _statements(source):
        if level and not package:
            continue
        base = resolve_name("." * level + imported, package)
        yield from (
            name
            for name in [base, *(f"{base}.{one}" for one in names)]
            if _package(name) == _package(module)
        )


@lru_cache(maxsize=1024)
def _statements(source: bytes) -> list[tuple[int, str, list[str]]]:
    """Level, module and names of each import statement; none if the source cannot be parsed."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return []
    found: list[tuple[int, str, list[str]]] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", [alias.name for alias in node.names]))
    return found
