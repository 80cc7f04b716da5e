"""Building the components that a recipe names."""

from typing import Any

from hieraseg.contracts import asks_for
from hieraseg.errors import RecipeError
from hieraseg.recipe.spec import ComponentSpec


def build(component: ComponentSpec, **supplied: Any) -> Any:
    """The component with the recipe's arguments and those of the supplied ones it asks for.

    The components inside it are built before it, likewise.

    Raises:
        RecipeError: it refuses an argument's value.
    """
    return _build(component, component.section, supplied)


def _build(value: Any, key: str, supplied: dict[str, Any]) -> Any:
    """A recipe's value at a dotted key, with the components in it built."""
    if isinstance(value, list):
        return [_build(item, f"{key}[{index}]", supplied) for index, item in enumerate(value)]
    if not isinstance(value, ComponentSpec):
        return value
    factory = value.factory
    wanted = {name: one for name, one in supplied.items() if asks_for(factory, name)}
    arguments = {
        name: _build(one, f"{key}.{name}", supplied) for name, one in value.arguments.items()
    }
    try:
        return factory(**wanted, **arguments)
    except ValueError as error:
        raise RecipeError(f"{key}: {value.name}: {error}") from error
