"""What a recipe may set of a component: read from its signature and docstring."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from inspect import Parameter, cleandoc, isclass, signature
from typing import Any, get_type_hints

from docstring_parser import ParseError, parse
from jsonargparse import ArgumentParser
from torch import nn

from hieraseg.errors import RecipeError
from hieraseg.recipe.values import convert, fits, is_readable, parser_for, plain, type_name

_NO_DEFAULT = Parameter.empty


@dataclass(frozen=True)
class Argument:
    """One argument that a recipe may set.

    Attributes:
        name: its key in the recipe.
        type: its annotation.
        default: as it would stand in a recipe.
        required: whether it has no default.
        meaning: from the docstring, perhaps empty.
        parser: jsonargparse's parser of the type.
    """

    name: str
    type: Any
    default: Any
    required: bool
    meaning: str
    parser: ArgumentParser

    def read(self, value: Any) -> Any:
        """A recipe's value in the type of the signature.

        Raises:
            ValueError: it is not of this type; the message says what was expected.
        """
        return convert(value, self.type, self.parser)


@lru_cache(maxsize=256)
def arguments_of(
    factory: Callable[..., Any], supplied: frozenset[str] = frozenset()
) -> dict[str, Argument]:
    """The arguments of a component, without those that the runner supplies.

    Raises:
        RecipeError: its signature breaks the rules for plugins: an argument that is untyped, of a
            type that YAML cannot give, without keyword, or called `name`; a default of another
            type; `*args` or `**kwargs`.
    """
    try:
        parameters = _parameters(factory, supplied)
        hints = get_type_hints(factory.__init__ if isclass(factory) else factory)
    except RecipeError:
        raise
    except Exception as error:  # annotations are the plugin's code and may fail in any way
        raise RecipeError(
            f"its signature cannot be read: {type(error).__name__}: {error}"
        ) from error
    meanings = _meanings(factory)
    return {
        parameter.name: _argument(parameter, hints, meanings.get(parameter.name, ""))
        for parameter in parameters
    }


def docstring_of(component: Any) -> str:
    """Its own docstring; that of a base class would describe something else. Perhaps empty."""
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
        raise RecipeError(f"its argument {name!r} has no type: annotate it")
    hint = hints[name]
    required = parameter.default is _NO_DEFAULT
    default = None if required else plain(parameter.default)
    if default is None and not required:
        hint = hint | None
    if not is_readable(hint):
        raise RecipeError(f"its argument {name!r} has a type that YAML cannot give: {hint}")
    if not required and not fits(default, hint):
        raise RecipeError(
            f"its argument {name!r} is typed as {type_name(hint)}, but its default is {default!r}"
        )
    if "${" in repr(default):
        raise RecipeError(f"its argument {name!r} has the default {default!r}: remove the ${{")
    return Argument(name, hint, default, required, meaning, parser_for(hint))


def _meanings(factory: Callable[..., Any]) -> dict[str, str]:
    """What the docstring says of each argument."""
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
