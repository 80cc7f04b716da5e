"""Checking the types of JSON content."""

import math
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict


def problem_in(value: Any, expected: Any, place: str = "") -> str:
    """What is wrong with the type of a JSON value; empty if nothing is.

    Args:
        value: the value.
        expected: a `TypedDict`, which allows other keys; `dict[str, T]`, `list[T]`, a union, a
            `Literal`, bool, int, float, str or None. A float is finite, and may be written as an
            integer.
        place: where the value is, as in `splits.val.levels[0]`.
    """
    if isinstance(expected, UnionType):
        problems = [problem_in(value, one, place) for one in get_args(expected)]
        return problems[0] if all(problems) else ""
    if is_typeddict(expected):
        if not isinstance(value, dict):
            return _unexpected("an object", value, place)
        missing = sorted(expected.__required_keys__ - value.keys())
        if missing:
            return f"{place}.{missing[0]}".strip(".") + ": is missing"
        hints = _type_hints(expected)
        inner = [(value[key], hints[key], f"{place}.{key}") for key in hints if key in value]
    elif get_origin(expected) is dict:
        if not isinstance(value, dict) or not all(map(_is_text, value)):
            return _unexpected("an object", value, place)
        kind = get_args(expected)[1]
        inner = [
            (one, kind, f"{place}.{key if key.isprintable() else ascii(key)}")
            for key, one in value.items()
        ]
    elif get_origin(expected) is list:
        if not isinstance(value, list):
            return _unexpected("a list", value, place)
        inner = [(v, *get_args(expected), f"{place}[{i}]") for i, v in enumerate(value)]
    elif get_origin(expected) is Literal:
        known = get_args(expected)
        return "" if value in known else _unexpected(f"one of {', '.join(known)}", value, place)
    else:
        name, accepts = _SCALARS[expected]
        return "" if accepts(value) else _unexpected(name, value, place)
    found = (problem_in(one, kind, where.strip(".")) for one, kind, where in inner)
    return next(filter(None, found), "")


_type_hints = cache(get_type_hints)


def _is_text(value: Any) -> bool:
    """Whether a value is a string that can be printed: JSON can escape half a character."""
    return isinstance(value, str) and not any("\ud800" <= one <= "\udfff" for one in value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_float(value: Any) -> bool:
    return (_is_int(value) and abs(value) < 2**1000) or (
        isinstance(value, float) and math.isfinite(value)
    )


_SCALARS: dict[Any, tuple[str, Any]] = {
    dict: ("an object", lambda value: isinstance(value, dict)),
    str: ("a string", _is_text),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("an integer", _is_int),
    float: ("a number", _is_float),
    NoneType: ("null", lambda value: value is None),
}


def _unexpected(expected: str, value: Any, place: str) -> str:
    got = type(value).__name__ if isinstance(value, dict | list) else ascii(value)[:40]
    return f"{place or 'content'}: expected {expected}, got {got}"
