"""Keys that are keywords of Python, as `from` is; in a signature they end with an underscore."""

from collections.abc import Mapping
from keyword import iskeyword
from typing import Any


def key_of(parameter: str) -> str:
    """The key in a recipe of a parameter: `from` for `from_`."""
    word = parameter.removesuffix("_")
    return word if iskeyword(word) else parameter


def by_parameter(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by key in a recipe as keyword arguments: `from_` for `from`."""
    return {f"{key}_" if iskeyword(key) else key: value for key, value in arguments.items()}
