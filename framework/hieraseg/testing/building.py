"""A component with arguments that stand as in a recipe, built as a run builds it."""

from collections.abc import Callable, Mapping
from typing import Any

from hieraseg.components import build
from hieraseg.contracts import SUPPLIED
from hieraseg.errors import RecipeError
from hieraseg.recipe.arguments import arguments_of
from hieraseg.recipe.checking import Checker
from hieraseg.recipe.component import Component
from hieraseg.recipe.reading import Entry, Place
from hieraseg.recipe.values import plain
from hieraseg.registry import BY_KIND

SETTINGS = Place("settings")


def read_component(
    factory: Callable[..., Any], kind: str, name: str, settings: Mapping[str, Entry]
) -> Component:
    """A component with its arguments in the types of its signature, defaults filled in.

    Args:
        factory: the class or function; it need not be registered.
        kind: plural name of its kind, as in `losses`.
        name: what messages call it.
        settings: the arguments, as a recipe's section would hold them.

    Raises:
        RecipeError: all that is wrong with the settings, one a line; or its signature breaks the
            rules for plugins.
    """
    section, supplied = BY_KIND[kind].section, SUPPLIED[kind]
    places = [entry.place for entry in settings.values()] or [SETTINGS]
    checker = Checker(places[0], inputs=False)
    arguments = checker.arguments(
        section,
        f"{section} {name!r}",
        Entry(dict(settings), places[0]),
        arguments_of(factory, supplied),
        supplied,
    )
    if checker.mistakes:
        raise RecipeError("\n".join(map(str, checker.mistakes)))
    return Component(section, name, arguments, factory)


def build_component(
    factory: Callable[..., Any], kind: str, settings: Mapping[str, Any], **supplied: Any
) -> Any:
    """The component itself.

    Args:
        factory: the class or function.
        kind: plural name of its kind.
        settings: its arguments, as they would stand in a recipe.
        supplied: what the runner supplies; it gets those that it asks for.

    Raises:
        RecipeError: wrong settings, or a value that the component refuses.
    """
    entries = {key: Entry(plain(value), SETTINGS) for key, value in settings.items()}
    name = getattr(factory, "__name__", repr(factory))
    return build(read_component(factory, kind, name, entries), **supplied)
