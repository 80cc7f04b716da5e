"""Environment variables in recipes: `${NAME}` and `${NAME:-default}`, and nothing else."""

import os
import re
from collections.abc import Callable
from typing import Any

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^{}]*))?\}")


class SubstitutedString(str):
    """A quoted scalar whose variables are substituted.

    YAML flow mappings need the quotes, as in `{lr: "${LR}"}`, so quotes do not tell the type. If
    the argument accepts a string, the value is a string; otherwise it is read as if unquoted.
    """


def has_reference(text: str) -> bool:
    """Whether a string refers to variables, with valid syntax or not."""
    return "${" in text


def substitute(text: str) -> str:
    """Substitute environment variables. As in a shell, `:-` also replaces an empty value.

    Raises:
        ValueError: a variable is not set and has no default, its value contains `${`, or a `${`
            in the text starts no valid reference.
    """

    def value_of(reference: re.Match[str]) -> str:
        name, has_default, default = reference.groups()
        value = os.environ.get(name, "")
        if not value and has_default:
            return default
        if name not in os.environ:
            raise ValueError(
                f"the environment variable {name} is not set; set it, or write a default: "
                f"${{{name}:-default}}"
            )
        if has_reference(value):
            raise ValueError(
                f"the environment variable {name} is {value!r}, but variables in variables are "
                "not substituted; remove the ${"
            )
        return value

    if has_reference(REFERENCE.sub("", text)):
        raise ValueError(f"expected ${{NAME}} or ${{NAME:-default}}, got {text!r}")
    return REFERENCE.sub(value_of, text)


def map_substituted(value: Any, read: Callable[[str], Any]) -> Any:
    """Copy of a plain value, where every `SubstitutedString` is replaced by `read` of it."""
    if isinstance(value, SubstitutedString):
        return read(str(value))
    if isinstance(value, list):
        return [map_substituted(item, read) for item in value]
    if isinstance(value, dict):
        return {key: map_substituted(item, read) for key, item in value.items()}
    return value
