"""What a plugin's source tells without being run: the names it registers, and some of its faults.

So `hieraseg list` answers without importing anybody's code, and torch with it.
"""

import ast
import warnings
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Registration(NamedTuple):
    """A call such as `registry.losses.register("my_loss")`, and its line.

    The kind is whatever stands before `.register`. The name is empty where it is no plain text.
    """

    kind: str
    name: str
    line: int


def registrations_in(tree: ast.Module) -> list[Registration]:
    """What a module registers, in the order of its lines."""
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
                text = given[0].value if given and isinstance(given[0], ast.Constant) else None
                name = text if isinstance(text, str) else ""
                found.append(Registration(kind, name, node.lineno))
    return sorted(found, key=lambda one: one.line)


def parsed(source: bytes) -> ast.Module:
    """A module's syntax tree.

    Raises:
        ValueError: it is no Python; the message says why, and on which line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that are none; running it warns again
            return ast.parse(source)
    except SyntaxError as error:
        line = f" on line {error.lineno}" if error.lineno else ""
        raise ValueError(f"SyntaxError{line}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def fault_in(tree: ast.Module) -> str:
    """Why a module cannot be imported, as far as its own text tells; else empty."""
    for node in tree.body:
        if isinstance(node, ast.Raise):
            return f"raises an error when it is imported, on line {node.lineno}"
        for package in _imported(node):
            if not _is_installed(package):
                return f"ModuleNotFoundError: No module named {package!r} (line {node.lineno})"
    return ""


def fault_of(point: EntryPoint) -> str:
    """Why an entry point cannot be loaded, as far as files tell; else empty."""
    try:
        file = _file_of(point.module)
    except ModuleNotFoundError as error:
        return f"ModuleNotFoundError: {error}"
    if file is None:
        return ""
    try:
        tree = parsed(file.read_bytes())
    except (OSError, ValueError) as error:
        return str(error)
    first = point.attr.partition(".")[0]
    defined = set(_defined(tree.body))
    if first and first not in defined and not defined & {"*", "__getattr__"}:
        return f"AttributeError: {file} defines no {first!r}"
    return fault_in(tree)


def _file_of(module: str) -> Path | None:
    """The source of a module; None where only an import would tell.

    Raises:
        ModuleNotFoundError: there is no such module.
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


def _imported(node: ast.stmt) -> Iterator[str]:
    """The top-level packages that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        yield node.module.partition(".")[0]


@lru_cache(maxsize=1024)
def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return True  # in some state that only an import would tell


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    """The names that statements give to a module; `*` where others' names may be among them."""
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
        else:  # `if`, `try`, `with`, `globals().update(...)`: anything may be defined there
            if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
                yield "*"
