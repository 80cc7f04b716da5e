"""Building a component from settings as in a recipe, the way a run builds it."""

from collections.abc import Callable, Mapping
from typing import Any

from hieraseg.errors import RecipeError
from hieraseg.recipe import build as recipe_build
from hieraseg.recipe.arguments import arguments_of
from hieraseg.recipe.checking import Checker
from hieraseg.recipe.reading import Entry, Place
from hieraseg.recipe.spec import ComponentSpec
from hieraseg.recipe.values import plain
from hieraseg.registry import Kind

SETTINGS = Place("settings")


def build_component(
    factory: Callable[..., Any], kind: Kind, settings: Mapping[str, Any], **supplied: Any
) -> Any:
    """Build a component, registered or not, the way a run does.

    Args:
        factory: the class or function.
        kind: its kind.
        settings: its arguments, as in a recipe.
        supplied: arguments that the runner supplies. Those that the component does not have are
            ignored.

    Raises:
        RecipeError: the settings are invalid (the message lists all problems, one per line), the
            component raises ValueError, or its signature breaks the rules for plugins.
    """
    return recipe_build.build(_spec(factory, kind, settings), **supplied)


def keyword_arguments(
    factory: Callable[..., Any], kind: Kind, settings: Mapping[str, Any], **supplied: Any
) -> dict[str, Any]:
    """The keyword arguments with which `build_component` calls a component."""
    return recipe_build.keyword_arguments(_spec(factory, kind, settings), **supplied)


def _spec(factory: Callable[..., Any], kind: Kind, settings: Mapping[str, Any]) -> ComponentSpec:
    name = getattr(factory, "__name__", repr(factory))
    entries = {key: Entry(plain(value), SETTINGS) for key, value in settings.items()}
    checker = Checker(SETTINGS, require_paths=False)
    arguments = checker.arguments(
        kind.singular,
        f"{kind.singular} {name!r}",
        Entry(entries, SETTINGS),
        arguments_of(factory, kind.supplied),
        kind.supplied,
    )
    if checker.problems:
        raise RecipeError("\n".join(map(str, checker.problems)))
    return ComponentSpec(kind.section, name, arguments, factory)
