"""Environment variables in a recipe: `${NAME}` and `${NAME:-default}`, and nothing else."""

import os
import re
from collections.abc import Callable
from typing import Any

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^{}]*))?\}")


class FilledText(str):
    """A quoted text with variables filled in.

    A flow mapping needs the quotes, as in `{lr: "${LR}"}`. So what it says is a text where a text
    is wanted, and else what it would be without quotes.
    """


def has_reference(text: str) -> bool:
    """Whether a text refers to variables, rightly or not."""
    return "${" in text


def filled(text: str) -> str:
    """A text with its variables filled in; as in a shell, a default stands for an empty one too.

    Raises:
        ValueError: a variable that is not set and has no default; `${` that starts no reference,
            in the text or in a variable, whose value is not filled in again.
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
            raise ValueError(f"the environment variable {name} holds {value!r}: remove the ${{")
        return value

    if has_reference(REFERENCE.sub("", text)):
        raise ValueError(f"expected ${{NAME}} or ${{NAME:-default}}, got {text!r}")
    return REFERENCE.sub(value_of, text)


def settle(value: Any, read: Callable[[str], Any]) -> Any:
    """A plain value, each filled text in it replaced by what `read` makes of it."""
    if isinstance(value, FilledText):
        return read(str(value))
    if isinstance(value, list):
        return [settle(item, read) for item in value]
    if isinstance(value, dict):
        return {key: settle(item, read) for key, item in value.items()}
    return value
