"""Types of recipe values: which there are, and whether a YAML value has one.

jsonargparse converts values, but only after the stricter checks here: on its own it accepts null
for any type and quoted numbers as numbers, parses strings as YAML a second time, and imports code
for some types. A recipe is data, so arguments of those types cannot be set by a recipe.
"""

from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from enum import Enum
from numbers import Integral, Real
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from hieraseg.files.paths import absolute, is_utf8, shown
from hieraseg.files.strict_yaml import inline, unquoted
from hieraseg.recipe.environment import map_substituted
from hieraseg.recipe.spec import ComponentSpec
from hieraseg.registry import Registry, registry_of
from hieraseg.registry.kinds import all_kinds
from hieraseg.types import Pattern, constraints_of, plain_type, violation

_LONGEST = 60
_NOTHING = ("none", "nil", "off", "no", "never", "false")
_OLD_BOOLEANS = ("yes", "no", "on", "off")  # of YAML 1.1; strings in YAML 1.2


def is_readable(hint: Any) -> bool:
    """Whether values of this type can be written in a recipe."""
    kind, inner = kind_of(hint)
    if registry_in(hint) is not None:
        return True
    if kind in (Literal, None):
        return kind is Literal or hint is NoneType
    if kind in (Union, list, tuple, dict):
        return bool(inner) and all(
            one is Ellipsis or (is_readable(one) and registry_in(one) is None) for one in inner
        )
    return True


def registry_in(hint: Any) -> Registry | None:
    """The registry of the components that an argument of this type accepts, or None.

    The type may be the contract of a nestable kind, a list of it, or either of them or None.
    """
    kind, inner = kind_of(hint)
    if kind is Union:
        inner = tuple(one for one in inner if one is not NoneType)
    if kind in (Union, list):
        return registry_in(inner[0]) if len(inner) == 1 else None
    return _registry_of(hint)


def fits(value: Any, hint: Any) -> bool:
    """Whether a YAML value has this type. Constraints of restricted types are not checked."""
    kind, inner = kind_of(hint)
    if _registry_of(hint) is not None:
        return isinstance(value, str) or (
            isinstance(value, dict) and all(isinstance(key, str) for key in value)
        )
    if kind is Union:
        return any(fits(value, one) for one in inner)
    if kind is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if kind is list:
        return isinstance(value, list) and all(fits(item, inner[0]) for item in value)
    if kind is tuple:
        if not isinstance(value, list):
            return False
        items = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(items) == len(value) and all(map(fits, value, items))
    if kind is dict:
        return isinstance(value, dict) and all(
            fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items()
        )
    hint = plain_type(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return isinstance(value, str) and value in hint.__members__
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is (kind or NoneType)


def is_path(hint: Any) -> bool:
    """Whether a string of this type can be a path."""
    kind, inner = kind_of(hint)
    if kind is Union:
        return any(map(is_path, inner))
    hint = plain_type(hint)
    return isinstance(hint, type) and issubclass(hint, PurePath)


def parser_for(hint: Any) -> ArgumentParser:
    """The jsonargparse parser of one type."""
    parser = ArgumentParser(exit_on_error=False, add_help=False)
    parser.add_argument("--value", type=plain_type(hint))
    return parser


def convert(value: Any, hint: Any, parser: ArgumentParser, folder: Path) -> Any:
    """Convert a YAML value to the type of a signature; sections of components stay as they are.

    Args:
        value: value as YAML gives it.
        hint: the type.
        parser: `parser_for(hint)`.
        folder: folder that paths are relative to; they become absolute.

    Raises:
        ValueError: the value has another type, violates a constraint of this one, or is a path
            that recipes cannot name.
    """
    if registry_in(hint) is not None and fits(value, hint):
        # Variables in it stay open, since their types depend on the inner arguments.
        problem = violation(value, hint)
        if problem:
            raise ValueError(problem)
        return value
    strings = map_substituted(value, str)
    value = strings if fits(strings, hint) else map_substituted(value, unquoted)
    if not fits(value, hint):
        raise ValueError(_expectation(value, hint))
    problem = violation(value, hint)
    if problem:
        raise ValueError(problem + _also(value, hint))
    if value is None:
        return value
    value = _with_absolute_paths(value, hint, folder)
    try:
        parsed = parser.parse_object({"value": deepcopy(value)})["value"]
    except (ArgumentError, OverflowError) as error:
        # Restricted types of jsonargparse itself, and ints that are too large for a float.
        reason = str(error).partition(":\n")[2] or str(error)
        raise ValueError(" ".join(reason.split())) from error
    return _strings_kept(value, parsed)


def plain(value: Any) -> Any:
    """A value of a signature's type as YAML would have it."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, ComponentSpec):
        value = {"name": value.name, **value.arguments}
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Real):  # numbers of NumPy are no int, and only those of 64 bits a float
        return int(value) if isinstance(value, Integral) else float(value)
    return value


def type_name(hint: Any) -> str:
    """A type in recipe terms, as in `positive int or null` or `list [float, float]`."""
    if get_origin(hint) is Annotated:
        name = type_name(get_args(hint)[0])
        for constraint in constraints_of(hint):
            phrase = constraint.phrase
            if isinstance(constraint, Pattern):  # which says all
                name = constraint.name or phrase.removeprefix("an ").removeprefix("a ")
                continue
            name = f"{name} {phrase}" if " " in phrase else f"{phrase} {name}"
        return name
    kind, inner = kind_of(hint)
    registry = _registry_of(hint)
    if registry is not None:
        return registry.singular
    if kind is Union:
        names = dict.fromkeys(map(type_name, inner))
        if "path" in names:  # a `Path | str` argument is one thing in a recipe
            names.pop("str", None)
        return " or ".join(names)
    if kind is Literal:
        values = ", ".join(map(_shown, inner))
        return values if len(inner) == 1 else f"one of {values}"
    if kind is list or (kind is tuple and inner[-1] is Ellipsis):
        registry = _registry_of(inner[0])
        return f"list of {registry.kind.name if registry else type_name(inner[0])}"
    if kind is tuple:
        return f"list [{', '.join(map(type_name, inner))}]"
    if kind is dict:
        return f"mapping of {type_name(inner[0])} to {type_name(inner[1])}"
    if kind is None:
        return "null"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of {', '.join(map(_shown, hint.__members__))}"
    return hint.__name__ if issubclass(hint, kind) else "path"


def _registry_of(hint: Any) -> Registry | None:
    """The registry of a nestable kind whose contract a type is."""
    hint = plain_type(hint)
    if not isinstance(hint, type):
        return None
    for kind in all_kinds():
        if kind.nestable and hint is kind.load_contract():
            return registry_of(kind)
    return None


def kind_of(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The YAML kind of a type, and the types inside it; None for null and for unknown types."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return kind_of(inner[0])
    if origin is UnionType:
        return Union, inner
    if origin in (Union, Literal, list, tuple, dict):
        return origin, inner
    if origin is Sequence:
        return list, inner
    if origin is Mapping:
        return dict, inner
    if hint in (list, tuple, dict):
        return hint, ()
    if isinstance(hint, type):
        if issubclass(hint, Enum | PurePath):
            return str, ()
        for kind in (bool, int, float, str):
            if issubclass(hint, kind):
                return kind, ()
    return None, ()


def _expectation(value: Any, hint: Any) -> str:
    name = type_name(hint)
    article = "" if name.startswith(("one of", "null", "'")) else "a "
    article = "an " if article and name.startswith(tuple("aeio")) else article
    expected = f"expected {article}{name}, got {_shown(value)}"
    if _is_nothing(value, hint):
        return f"{expected}: write null"
    if not isinstance(value, str):
        return expected
    if value.lower() in _OLD_BOOLEANS and fits(True, hint):
        return f"{expected}: write true or false"
    close = get_close_matches(value, _choices(hint), n=1)
    if close:
        return f"{expected}, did you mean {close[0]!r}?"
    if len(value) <= _LONGEST and fits(unquoted(value), hint):
        return f"{expected}, which is a string: remove the quotes"
    return expected


def _also(value: Any, hint: Any) -> str:
    """What else to say of a string that may be meant for something else; empty if it may not."""
    if _is_nothing(value, hint):
        return ": write null"
    meant = unquoted(value) if isinstance(value, str) else value
    is_number = not isinstance(meant, str) and fits(meant, hint) and not violation(meant, hint)
    return ", which is a string: remove the quotes" if is_number and meant is not value else ""


def _is_nothing(value: Any, hint: Any) -> bool:
    """Whether a value is a word for null, which the type accepts."""
    return str(value).lower() in _NOTHING and fits(None, hint) and not fits(True, hint)


def _choices(hint: Any) -> list[str]:
    kind, inner = kind_of(hint)
    if kind is Literal:
        return [one for one in inner if isinstance(one, str)]
    if kind is Union:
        return [choice for one in inner for choice in _choices(one)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return list(hint.__members__)
    return []


def _shown(value: Any) -> str:
    shown = repr(value) if isinstance(value, str) else inline(value)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."


def _with_absolute_paths(value: Any, hint: Any, folder: Path) -> Any:
    """A YAML value of a type, with absolute paths.

    In a union with a path, strings are paths, but for those that one of its literals or
    enumerations has.
    """
    kind, inner = kind_of(hint)
    if kind is Union:
        narrowest = next(one for one in get_args(plain_type(hint)) if fits(value, one))
        return _with_absolute_paths(value, narrowest, folder)
    if isinstance(value, str) and is_path(hint):
        return _writable(absolute(value, folder))
    if kind is list or (kind is tuple and inner[-1] is Ellipsis):
        return [_with_absolute_paths(item, inner[0], folder) for item in value]
    if kind is tuple:
        return [_with_absolute_paths(*pair, folder) for pair in zip(value, inner, strict=True)]
    if kind is dict:
        keys = [_with_absolute_paths(key, inner[0], folder) for key in value]
        items = [_with_absolute_paths(item, inner[1], folder) for item in value.values()]
        return dict(zip(keys, items, strict=True))
    return value


def _writable(path: Path) -> str:
    """The path as a string. Raises ValueError if no recipe could name it."""
    text, problem = str(path), ""
    if "${" in text:
        problem = "must not contain ${, since recipes replace variables"
    if not is_utf8(path):
        problem = "is not UTF-8, as recipes are"
    if problem:
        raise ValueError(f"{shown(path)}: the path {problem}; rename it")
    return text


def _strings_kept(given: Any, parsed: Any) -> Any:
    """jsonargparse parses strings such as "5" or "null" as YAML once more: undo that."""
    if isinstance(given, str):
        return parsed if isinstance(parsed, str | PurePath | Enum) else given
    if isinstance(given, list):
        return type(parsed)(map(_strings_kept, given, parsed))
    if isinstance(given, dict):
        items = zip(given.items(), parsed.items(), strict=True)
        return {
            _strings_kept(key, as_key): _strings_kept(item, as_item)
            for (key, item), (as_key, as_item) in items
        }
    return parsed
