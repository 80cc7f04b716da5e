"""Static analysis of plugins: the names that a source registers, and why it cannot be imported.

So `hieraseg list` imports no plugin, and with it torch.
"""

import ast
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Registration(NamedTuple):
    """A call such as `registry.losses.register("my_loss")`.

    Attributes:
        kind: attribute before `.register`, not necessarily a kind.
        name: registered name; empty if it is not a string literal.
        line: line number, from 1; 0 if unknown.
    """

    kind: str
    name: str
    line: int


def registrations_in(tree: ast.Module) -> list[Registration]:
    """All registrations in a module, in the order of their lines."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Attribute(attr=kind) | ast.Name(id=kind), attr="register"
                ),
                args=args,
                keywords=keywords,
            ):
                given = [*args, *(one.value for one in keywords if one.arg == "name")][:1]
                value = given[0].value if given and isinstance(given[0], ast.Constant) else None
                name = value if isinstance(value, str) else ""
                found.append(Registration(kind, name, node.lineno))
    return sorted(found, key=lambda one: one.line)


def parse(source: bytes) -> ast.Module:
    """Parse the source of a module.

    Raises:
        ValueError: the source is not valid Python. The message has the reason and the line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes, as running it does anyway
            return ast.parse(source)
    except SyntaxError as error:
        line = f" on line {error.lineno}" if error.lineno else ""
        raise ValueError(f"SyntaxError{line}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def fault_in(tree: ast.Module) -> str:
    """Why a module cannot be imported, as far as its source tells; empty otherwise."""
    for node in tree.body:
        if isinstance(node, ast.Raise):
            return f"raises an error when it is imported, on line {node.lineno}"
        for package in _imported(node):
            if not _is_installed(package):
                return f"ModuleNotFoundError: No module named {package!r} (line {node.lineno})"
    return ""


def imported_from(folder: Path, tree: ast.Module) -> Path | None:
    """A file of a folder that a module imports, which is on `sys.path`; None if there is none."""
    for node in ast.walk(tree):
        for name in _imported(node):
            file = folder / f"{name}.py"
            with suppress(ImportError, OSError):
                found = _file_of(name) if file.is_file() else None
                if found is not None and found.samefile(file):
                    return file
    return None


def fault_of(point: EntryPoint) -> str:
    """Why an entry point cannot be loaded, as far as its source tells; empty otherwise."""
    try:
        file = _file_of(point.module)
    except ModuleNotFoundError as error:
        return f"ModuleNotFoundError: {error}"
    if file is None:
        return ""
    try:
        tree = parse(file.read_bytes())
    except (OSError, ValueError) as error:
        return str(error)
    first = point.attr.partition(".")[0]
    defined = set(_defined(tree.body))
    if first and first not in defined and not defined & {"*", "__getattr__"}:
        return f"AttributeError: {file} defines no {first!r}"
    return fault_in(tree)


def _file_of(module: str) -> Path | None:
    """Source file of a module; None if it cannot be found without an import.

    Raises:
        ModuleNotFoundError: there is no such top-level package.
    """
    top, *inner = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        raise ModuleNotFoundError(f"No module named {top!r}")
    folders = spec.submodule_search_locations
    if not inner:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in folders or ():
        path = Path(folder, *inner)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def _imported(node: ast.AST) -> Iterator[str]:
    """Top-level packages that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        yield node.module.partition(".")[0]


@lru_cache(maxsize=1024)
def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return True  # unknown without an import


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    """Names that statements define in a module; `*` if there can be others."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name):
                    yield inner.id
        else:  # `if`, `try`, `with`, `globals().update(...)` can define anything
            if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
                yield "*"
