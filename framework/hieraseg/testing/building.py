"""A component with arguments that stand as in a recipe, built as a run builds it."""

from collections.abc import Callable, Mapping
from typing import Any

from hieraseg.errors import RecipeError
from hieraseg.recipe.arguments import arguments_of
from hieraseg.recipe.build import build
from hieraseg.recipe.checking import Checker
from hieraseg.recipe.reading import Entry, Place
from hieraseg.recipe.spec import ComponentSpec
from hieraseg.recipe.values import plain
from hieraseg.registry import Kind

SETTINGS = Place("settings")


def build_component(
    factory: Callable[..., Any], kind: Kind, settings: Mapping[str, Any], **supplied: Any
) -> Any:
    """A component, registered or not, built as a run builds it.

    Args:
        factory: the class or function.
        kind: its kind.
        settings: its arguments, as they would stand in a recipe.
        supplied: what the runner supplies; it gets those that it asks for.

    Raises:
        RecipeError: all that is wrong with the settings, one a line; a value that the component
            refuses; or its signature breaks the rules for plugins.
    """
    section, runner = kind.section, kind.supplied
    name = getattr(factory, "__name__", repr(factory))
    entries = {key: Entry(plain(value), SETTINGS) for key, value in settings.items()}
    checker = Checker(SETTINGS, require_paths=False)
    arguments = checker.arguments(
        section,
        f"{section} {name!r}",
        Entry(entries, SETTINGS),
        arguments_of(factory, runner),
        runner,
    )
    if checker.problems:
        raise RecipeError("\n".join(map(str, checker.problems)))
    return build(ComponentSpec(section, name, arguments, factory), **supplied)
