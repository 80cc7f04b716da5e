"""What a component can be told to be, for `hieraseg list KIND NAME --filter TEXT`."""

from collections.abc import Sequence
from typing import Any

from hieraseg.cli.layout import align_columns
from hieraseg.console import log, progress
from hieraseg.contracts import Choice
from hieraseg.errors import RecipeError
from hieraseg.registry import Registry

SHOWN = 100
"""The details of more take too long to compute."""


def as_list(registry: Registry, name: str, text: str) -> list[dict[str, Any]]:
    """The choices of a component that contain a string, as JSON values; a log line counts more.

    Raises:
        RecipeError: there is no such component, it has no choices, or none contains the text.
    """
    component, what = registry.get(name), f"{registry.singular} {name}"
    if not hasattr(component, "choices"):
        raise RecipeError(
            f"--filter: the {what} wraps no other models (see `hieraseg.contracts`); leave it out"
        )
    choices: Sequence[Choice] = component.choices(text)
    if not choices:
        raise RecipeError(f"--filter: no model of the {what} contains {text!r}; try less of it")
    shown = choices[:SHOWN]
    listed = [
        {"name": one.value, **one.details()}
        for one in progress(shown, f"models of {name}", len(shown))
    ]
    if len(choices) > len(shown):
        log(f"{len(choices) - len(shown)} more contain {text!r}; --filter more of a name")
    return listed


def as_text(listed: Sequence[dict[str, Any]]) -> str:
    """A table of choices."""
    keys = list(listed[0])
    rows = [[_cell(one[key]) for key in keys] for one in listed]
    return align_columns([[key.upper() for key in keys], *rows])


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
