"""Arguments that a recipe can set, read from a component's signature and docstring."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from inspect import Parameter, cleandoc, isclass, signature
from pathlib import Path
from typing import Any, get_type_hints

from docstring_parser import ParseError, parse
from jsonargparse import ArgumentParser
from torch import nn

from hieraseg.errors import RecipeError
from hieraseg.recipe.keywords import key_of
from hieraseg.recipe.offering import method_that_gets
from hieraseg.recipe.values import convert, fits, is_readable, parser_for, plain, type_name
from hieraseg.types import is_restricted, violation

_NO_DEFAULT = Parameter.empty


@dataclass(frozen=True)
class Argument:
    """An argument that a recipe can set.

    Attributes:
        name: key in the recipe (see `recipe.keywords`).
        type: annotation.
        default: default as YAML would have it.
        required: whether there is no default.
        meaning: description in the docstring; may be empty.
        parser: jsonargparse parser of the type.
    """

    name: str
    type: Any
    default: Any
    required: bool
    meaning: str
    parser: ArgumentParser

    def read(self, value: Any, folder: Path = Path()) -> Any:
        """Convert a YAML value to the type of the signature.

        Args:
            value: the value.
            folder: folder that paths are relative to, by default the working directory; they
                become absolute.

        Raises:
            ValueError: the value has another type, or is out of range.
        """
        return convert(value, self.type, self.parser, folder)


@lru_cache(maxsize=256)
def arguments_of(
    factory: Callable[..., Any], supplied: frozenset[str] = frozenset()
) -> dict[str, Argument]:
    """The arguments of a component, without those that the runner supplies.

    Raises:
        RecipeError: the signature cannot be used by a recipe: an argument has no type, or one
            that YAML cannot express, is positional-only or called `name`; a default does not fit
            its type; or there are `*args` or `**kwargs`.
    """
    try:
        parameters = _parameters(factory, supplied)
        hints = get_type_hints(
            factory.__init__ if isclass(factory) else factory, include_extras=True
        )
        any(map(is_restricted, hints.values()))  # raises for metadata that is no constraint
    except RecipeError:
        raise
    except Exception as error:  # evaluating annotations can raise anything
        raise RecipeError(
            f"its signature cannot be read: {type(error).__name__}: {error}"
        ) from error
    meanings = _meanings(factory)
    return {
        key_of(parameter.name): _argument(parameter, hints, meanings.get(parameter.name, ""))
        for parameter in parameters
    }


def docstring_of(component: Any) -> str:
    """The component's own docstring, not an inherited one; empty if it has none."""
    doc = vars(component).get("__doc__") if isclass(component) else component.__doc__
    return cleandoc(doc or "")


def _parameters(factory: Callable[..., Any], supplied: Collection[str]) -> list[Parameter]:
    if isclass(factory) and factory.__init__ in (nn.Module.__init__, object.__init__):
        return []
    parameters = [one for one in signature(factory).parameters.values() if one.name not in supplied]
    for parameter in parameters:
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise RecipeError(f"its signature has {parameter}: name each argument")
        if parameter.kind is Parameter.POSITIONAL_ONLY or parameter.name == "name":
            raise RecipeError(f"its argument {parameter.name!r} cannot be set by a recipe")
    return parameters


def _argument(parameter: Parameter, hints: dict[str, Any], meaning: str) -> Argument:
    name = parameter.name
    if name not in hints:
        raise RecipeError(f"its argument {name!r} has no type: annotate it{_or_a_class(name)}")
    hint = hints[name]
    required = parameter.default is _NO_DEFAULT
    default = None if required else plain(parameter.default)
    if default is None and not required:
        hint = hint | None
    if not is_readable(hint):
        raise RecipeError(
            f"its argument {name!r} has a type that YAML cannot give: {hint}{_or_a_class(name)}"
        )
    if not required and not (fits(default, hint) and not _violation(name, default, hint)):
        raise RecipeError(
            f"its argument {name!r} is typed as {type_name(hint)}, but its default is {default!r}"
        )
    if "${" in repr(default):
        raise RecipeError(f"its argument {name!r} has the default {default!r}: remove the ${{")
    return Argument(key_of(name), hint, default, required, meaning, parser_for(hint))


def _or_a_class(argument: str) -> str:
    """The fix for a function with an argument that a method of its kind has."""
    method = method_that_gets(argument)
    return f", or register a class whose method {method} gets it" if method else ""


def _violation(name: str, default: Any, hint: Any) -> str:
    try:
        return violation(default, hint)
    except ValueError as error:
        raise RecipeError(f"the default of its argument {name!r}: {error}") from error


def _meanings(factory: Callable[..., Any]) -> dict[str, str]:
    """The description of each argument in the docstring."""
    docs = [factory.__init__.__doc__, factory.__doc__] if isclass(factory) else [factory.__doc__]
    meanings: dict[str, str] = {}
    for doc in docs:
        try:
            parsed = parse(doc or "")
        except ParseError:
            continue
        for one in parsed.params:
            meanings[one.arg_name] = " ".join((one.description or "").split())
    return meanings
