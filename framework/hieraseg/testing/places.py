"""Why a check of a component failed, and where in its own code."""

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hieraseg.errors import HierasegError

LONGEST = 600
"""Characters of a reason."""


def reason_of(error: BaseException) -> str:
    """What is wrong, in one short paragraph."""
    text = " ".join(str(error).split())
    if not text or not isinstance(error, AssertionError | HierasegError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def place_of(error: BaseException, component: Callable[..., Any]) -> str:
    """`file:line` of the innermost call in the component's own package; empty if there is none."""
    roots = _own_code(component)
    for one in reversed(list(_causes(error))):
        lines = [
            f"{path}:{line}"
            for frame, line in traceback.walk_tb(one.__traceback__)
            for path in [Path(frame.f_code.co_filename)]
            if any(path == root or root in path.parents for root in roots)
        ]
        if lines:
            return lines[-1]
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _own_code(component: Callable[..., Any]) -> list[Path]:
    """The folders of the component's package, or its file where it is in none."""
    package, dot, _ = component.__module__.partition(".")
    if dot:
        return [Path(folder) for folder in getattr(sys.modules.get(package), "__path__", [])]
    try:
        return [Path(inspect.getsourcefile(component) or "nowhere")]
    except TypeError:
        return []
