"""Build components from their specifications."""

from typing import Any

from hieraseg.contracts import has_argument
from hieraseg.errors import RecipeError
from hieraseg.recipe.spec import ComponentSpec
from hieraseg.types import ArgumentError


def build(spec: ComponentSpec, **supplied: Any) -> Any:
    """Build a component, nested ones first.

    Args:
        spec: the component and the arguments from the recipe.
        supplied: what the runner supplies; passed to components whose signature has it.

    Raises:
        RecipeError: a component refuses the value of an argument.
    """
    return _build(spec, spec.section, supplied)


def _build(value: Any, key: str, supplied: dict[str, Any]) -> Any:
    """The value at a dotted key, with the specs in it built."""
    if isinstance(value, list):
        return [_build(item, f"{key}[{index}]", supplied) for index, item in enumerate(value)]
    if not isinstance(value, ComponentSpec):
        return value
    factory = value.factory
    accepted = {name: one for name, one in supplied.items() if has_argument(factory, name)}
    arguments = {
        name: _build(one, f"{key}.{name}", supplied) for name, one in value.arguments.items()
    }
    try:
        return factory(**accepted, **arguments)
    except ArgumentError as error:
        raise RecipeError(f"{key}.{error.argument}: {value.name}: {error.problem}") from error
    except ValueError as error:
        raise RecipeError(f"{key}: {value.name}: {error}") from error
