"""The source code of a component: its module, and all of its package that this imports."""

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

_LEFT_OUT = {*sys.stdlib_module_names, "torch", "torchvision", "numpy", "hieraseg"}


def source_digest(component: Any) -> str:
    """SHA-256 of the source that a class or function is made of.

    Read are its module, those of its base classes, and all that these import from their own
    packages. Python, torch, NumPy and hieraseg itself are left out.
    """
    classes = component.__mro__ if isinstance(component, type) else (component,)
    waiting = [getattr(one, "__module__", "") for one in classes]
    sources: dict[str, bytes] = {}
    while waiting:
        name = waiting.pop()
        if name not in sources and name.partition(".")[0] not in _LEFT_OUT:
            sources[name] = _source(name)
            waiting += _imports(name, sources[name])
    # Not by name: the copy of a plugin file in a run folder is another module.
    digests = sorted({hashlib.sha256(source).hexdigest() for source in sources.values()})
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _source(module: str) -> bytes:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not file.endswith(".py"):
        return b""
    try:
        return Path(file).read_bytes()
    except OSError:
        return b""


def _imports(module: str, source: bytes) -> Iterator[str]:
    """Loaded modules of the same top-level package that a module imports."""
    package = getattr(sys.modules.get(module), "__package__", None) or ""
    for level, imported, names in _statements(source):
        if level and not package:
            continue
        base = resolve_name("." * level + imported, package)
        for name in [base, *(f"{base}.{one}" for one in names)]:
            if name.partition(".")[0] == module.partition(".")[0] and name in sys.modules:
                yield name


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
