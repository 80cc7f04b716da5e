"""Build components from their specifications."""

from typing import Any

from hieraseg.contracts import Transform, has_argument
from hieraseg.errors import DataError, RecipeError
from hieraseg.files.paths import keep_working_directory
from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe.keywords import by_parameter, key_of
from hieraseg.recipe.offering import contract_problem
from hieraseg.recipe.resolved import Recipe
from hieraseg.recipe.spec import ComponentSpec
from hieraseg.types import ArgumentError


def build(spec: ComponentSpec, **supplied: Any) -> Any:
    """Build a component, nested ones first.

    Args:
        spec: the component and the arguments from the recipe.
        supplied: what the runner supplies; passed to components whose signature has it.

    Raises:
        RecipeError: a component refuses the value of an argument, or is none of its kind.
        DataError: a data set cannot be opened.
    """
    return _build(spec, spec.section, supplied)


def build_transforms(recipe: Recipe, hierarchy: Hierarchy) -> list[Transform]:
    """Build the transforms of the section `augmentation`, as `build` does."""
    specs, key = recipe.augmentation.transforms, "augmentation.transforms"
    built: list[Transform] = _build(list(specs), key, {"hierarchy": hierarchy})
    return built


def keyword_arguments(spec: ComponentSpec, **supplied: Any) -> dict[str, Any]:
    """The arguments that `build` passes to a component, nested ones built."""
    return _arguments(spec, spec.section, supplied)


def _build(value: Any, key: str, supplied: dict[str, Any]) -> Any:
    """The value at a dotted key, with the specs in it built."""
    if isinstance(value, list):
        return [_build(item, f"{key}[{index}]", supplied) for index, item in enumerate(value)]
    if not isinstance(value, ComponentSpec):
        return value
    arguments = _arguments(value, key, supplied)
    try:
        with keep_working_directory():
            built = value.factory(**arguments)
    except DataError as error:
        place = value.places.get("name")
        raise DataError(f"{place}: {error}" if place else str(error)) from error
    except ValueError as error:
        place, problem = value.places.get("name"), f"{key}: {value.name}: {error}"
        # The argument may be that of something which the component calls.
        if isinstance(error, ArgumentError) and key_of(error.argument) in value.arguments:
            argument = key_of(error.argument)
            place = value.places.get(argument, place)
            problem = f"{key}.{argument}: {value.name}: {error.problem}"
        raise RecipeError(f"{place}: {problem}" if place else problem) from error
    problem = contract_problem(value.section, value.name, built)
    if problem:
        place = value.places.get("name")
        problem = f"{key}: {value.name} {problem}"
        raise RecipeError(f"{place}: {problem}" if place else problem)
    return built


def _arguments(spec: ComponentSpec, key: str, supplied: dict[str, Any]) -> dict[str, Any]:
    accepted = {name: one for name, one in supplied.items() if has_argument(spec.factory, name)}
    given = {name: _build(one, f"{key}.{name}", supplied) for name, one in spec.arguments.items()}
    return {**accepted, **by_parameter(given)}
