"""Errors of components: their description, and the place where they happened."""

import functools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hieraseg.errors import RecipeError
from hieraseg.tracebacks import describe, frames, place_in, source_file
from hieraseg.types import PositiveInt, check_arguments
from hieraseg_plugins.optimizers.adamw import adamw

HERE = Path(__file__)


def raised(call: Any) -> Exception:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


def inner() -> None:
    raise KeyError("a")


def outer() -> None:
    try:
        inner()
    except KeyError as error:
        raise ValueError("b") from error


@check_arguments
def decorated(count: PositiveInt = 1) -> None:
    """A decorated function."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (IndexError("out of\n  range"), "IndexError: out of range"),
        (IndexError(), "IndexError"),
        (AssertionError("must be positive"), "must be positive"),
        (AssertionError(), "AssertionError"),
        (RecipeError("loss: unknown"), "loss: unknown"),
        (ValueError("x" * 1000), f"ValueError: {'x' * 588} ..."),
    ],
)
def test_describe(error: Exception, expected: str) -> None:
    assert describe(error) == expected


def test_frames_start_with_the_innermost_call_of_the_cause() -> None:
    path, line = next(frames(raised(outer)))
    assert path == HERE
    assert line == inner.__code__.co_firstlineno + 1


def test_place_in_the_file_of_a_component() -> None:
    inner_line = inner.__code__.co_firstlineno + 1
    assert place_in(outer, raised(outer)) == f"{HERE}:{inner_line}"


def test_place_of_an_error_elsewhere_is_empty() -> None:
    assert place_in(adamw, raised(outer)) == ""


def test_source_file_of_decorated_functions() -> None:
    assert source_file(decorated) == HERE
    file = source_file(adamw)
    assert file is not None
    assert file.name == "adamw.py"
    assert source_file(functools.partial(decorated)) is None


def test_a_class_of_an_interactive_session_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert source_file(type("Mine", (), {"__module__": "__main__"})) is None
