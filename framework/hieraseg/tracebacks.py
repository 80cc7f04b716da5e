"""Errors of components: one line that describes them, and where in whose code they happened."""

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hieraseg.errors import HierasegError


def describe(error: BaseException, longest: int = 600) -> str:
    """An error as one short line, as in `IndexError: list index out of range`.

    Assertions and framework errors are written for the user, so their type is left out.

    Args:
        error: any error.
        longest: number of characters after which the line is cut off.
    """
    message = " ".join(str(error).split())
    if not isinstance(error, AssertionError | HierasegError) or not message:
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return message if len(message) <= longest else f"{message[:longest]} ..."


def frames(error: BaseException) -> Iterator[tuple[Path, int]]:
    """File and line of each call that led to an error, innermost first.

    The calls that led to its cause come before its own.
    """
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from frames(cause)
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        yield Path(frame.f_code.co_filename), line


def source_file(component: Callable[..., Any]) -> Path | None:
    """The file that defines a class or function, decorated or not.

    Returns:
        None if there is none, as for a `functools.partial`, or a class of an interactive session.
    """
    try:
        file = inspect.getsourcefile(inspect.unwrap(component))
    except (TypeError, OSError):
        return None
    return None if file is None else Path(file)


def place_in(component: Callable[..., Any], error: BaseException) -> str:
    """`file:line` of the innermost call in the component's package, or else in its file.

    Returns:
        An empty string if the error happened elsewhere.
    """
    roots = _own_code(component)
    for path, line in frames(error):
        if any(path == root or root in path.parents for root in roots):
            return f"{path}:{line}"
    return ""


def _own_code(component: Callable[..., Any]) -> list[Path]:
    """The folders of the component's package, or its file if it is in no package."""
    package, dot, _ = component.__module__.partition(".")
    if dot:
        return [Path(folder) for folder in getattr(sys.modules.get(package), "__path__", [])]
    file = source_file(component)
    return [] if file is None else [file]
