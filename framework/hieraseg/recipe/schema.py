"""The JSON Schema of recipes, by which editors complete, explain and check them.

It is built from what the checker reads: the registries and the signatures of what is in them. What
the checker takes, it takes. It is looser where a type does not tell: ranges that a class checks
itself, `1.0` for an int, the keys of a mapping, and all that depends on what the base recipe says.
"""

import json
import operator
from enum import Enum
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, Union
from urllib.parse import quote

from hieraseg.errors import RecipeError
from hieraseg.recipe.arguments import Argument, arguments_of, docstring_of
from hieraseg.recipe.checking import CORE_SECTIONS, SECTIONS
from hieraseg.recipe.environment import REFERENCE
from hieraseg.recipe.values import kind_of, registry_in, type_name
from hieraseg.registry import Registry, by_section

Schema = dict[str, Any]

# Editors read `errorMessage` and `doNotSuggest`; other readers of a schema pass over them.
_VARIABLE: Schema = {
    "type": "string",
    "pattern": REFERENCE.pattern,
    "errorMessage": "Expected an environment variable, as in ${NAME} or ${NAME:-default}.",
}
_FILES: Schema = {
    "base": {
        "type": "string",
        "minLength": 1,
        "description": "The recipe that says what this one does not: its path from here, or the "
        "name of one that ships.",
    },
    "plugins": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Python files that register components: their paths from here.",
    },
}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", None: "null"}
_LIMITS = {
    operator.gt: "exclusiveMinimum",
    operator.ge: "minimum",
    operator.lt: "exclusiveMaximum",
    operator.le: "maximum",
}


class _Settings(NamedTuple):
    """What a recipe may set of a class or function, and the first line of its docstring."""

    summary: str
    arguments: dict[str, Argument]


def recipe_schema() -> tuple[Schema, list[str]]:
    """The schema (draft-07), and what is wrong with each component that is left out of it."""
    broken: list[str] = []
    definitions = {"variable": _VARIABLE}
    for registry in by_section().values():
        definitions |= _definitions(registry, broken)
    sections = {section: _ref(section) for section in SECTIONS}
    for section, settings in CORE_SECTIONS.items():
        sections[section] = _object(_settings(settings))
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Written by `hieraseg schema`.",
        "title": "hieraseg recipe",
        "type": "object",
        "properties": {**_FILES, **sections},
        "additionalProperties": False,
        "if": {"required": ["base"]},
        "then": {"properties": {section: _ref(f"{section}.merged") for section in by_section()}},
        "else": {
            "required": list(by_section()),
            "properties": {section: _ref(f"{section}.complete") for section in by_section()},
        },
        "definitions": definitions,
    }
    return schema, broken


def as_text(schema: Schema) -> str:
    """The schema as it stands in a file."""
    return json.dumps(schema, indent=1, allow_nan=False) + "\n"


def _definitions(registry: Registry, broken: list[str]) -> dict[str, Schema]:
    """Of a section that names a component: its parts, and one definition for each component.

    Whether a component's keys are complete is said apart: over a base recipe they need not be.
    """
    section = registry.section
    known = _known(registry, broken)
    names = [{"const": name, "description": one.summary} for name, one in known.items()]
    any_keys = {"anyOf": [_ref(f"{section}:{name}") for name in known] or [{"not": {}}]}
    own_keys = [_if_named({"const": name}, _ref(f"{section}:{name}")) for name in known]
    required = {
        name: [key for key, argument in one.arguments.items() if argument.required]
        for name, one in known.items()
    }
    parts: dict[str, Schema] = {
        section: {
            "description": f"The {section}; `hieraseg list {registry.kind.name}` tells of each.",
            "anyOf": [_ref(f"{section}.name"), {"type": "object"}],
            "properties": {"name": _ref(f"{section}.name")},
            "allOf": [*own_keys, _if_named(_ref("variable"), any_keys)],
        },
        f"{section}.name": {"anyOf": [*names, _ref("variable")]},
        f"{section}.complete": {
            "allOf": [
                {"required": ["name"]},
                *(_with_keys(name, keys) for name, keys in required.items() if keys),
            ]
        },
        f"{section}.merged": {
            "if": {"type": "object", "not": {"required": ["name"]}},
            "then": any_keys,
        },
    }
    of_each = {
        f"{section}:{name}": _object(one, name={"doNotSuggest": True})
        for name, one in known.items()
    }
    return {**parts, **of_each}


def _known(registry: Registry, broken: list[str]) -> dict[str, _Settings]:
    """What a recipe may set of each component; the faults of those that are unfit are noted."""
    known = {}
    for name in registry.names():
        try:
            component = registry.get(name)
        except RecipeError as error:
            broken.append(str(error))
            continue
        try:
            known[name] = _settings(component, registry.kind.supplied)
        except RecipeError as error:
            broken.append(f"{registry.section} {name!r} of {registry.origins()[name]}: {error}")
    return known


def _settings(component: Any, supplied: frozenset[str] = frozenset()) -> _Settings:
    summary = docstring_of(component).partition("\n")[0]
    return _Settings(summary, arguments_of(component, supplied))


def _if_named(name: Schema, then: Schema) -> Schema:
    return {"if": _named(name), "then": then}


def _named(name: Schema) -> Schema:
    return {"type": "object", "required": ["name"], "properties": {"name": name}}


def _with_keys(name: str, keys: list[str]) -> Schema:
    """Of the component of that name: these keys, and so not its name alone."""
    message = f"{name} needs {', '.join(keys)}."
    return {
        "if": {"anyOf": [{"const": name}, _named({"const": name})]},
        "then": {"type": "object", "required": keys, "errorMessage": message},
    }


def _object(settings: _Settings, **more: Schema) -> Schema:
    arguments = {key: _of_argument(one) for key, one in settings.arguments.items()}
    return {
        "description": settings.summary,
        "type": "object",
        "properties": {**more, **arguments},
        "additionalProperties": False,
    }


def _of_argument(argument: Argument) -> Schema:
    schema = _of_type(argument.type)
    if argument.meaning:
        schema["description"] = argument.meaning
    if not argument.required and _is_portable(argument.default):
        schema["default"] = argument.default
    return schema


def _is_portable(default: Any) -> bool:
    """Whether a default is the same on every machine, and JSON can write it."""
    try:
        json.dumps(default, allow_nan=False)
    except ValueError:
        return False
    return not (isinstance(default, str) and PurePath(default).is_absolute())


def _of_type(hint: Any) -> Schema:
    """What `values.fits` takes for a type, and variables in the place of scalars."""
    kind, inner = kind_of(hint)
    registry = registry_in(hint)
    if kind is Union:
        return {"anyOf": [_of_type(one) for one in inner]}
    if kind is list or (kind is tuple and inner[-1] is Ellipsis):
        return {"type": "array", "items": _of_type(inner[0])}
    if kind is tuple:
        items = [_of_type(one) for one in inner]
        return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}
    if kind is dict:
        return {"type": "object", "additionalProperties": _of_type(inner[1])}
    if kind is Literal:
        return _choice(list(inner))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(list(hint.__members__))
    if registry is not None:
        return {"allOf": [_ref(registry.section), _ref(f"{registry.section}.complete")]}
    return {"type": "string"} if kind is str else _scalar(kind, hint)


def _choice(values: list[Any]) -> Schema:
    return {"anyOf": [{"enum": values}, _ref("variable")]}


def _scalar(kind: Any, hint: Any) -> Schema:
    """A bool, null, or number, perhaps one that jsonargparse restricts, such as PositiveInt."""
    is_range = getattr(hint, "_join", None) == "and"
    restrictions = hint._restrictions if is_range else []
    return {
        "type": [_JSON_TYPES[kind], "string"],
        "pattern": REFERENCE.pattern,
        "errorMessage": f"Expected {type_name(hint)}.",
        **{_LIMITS[test]: limit for test, limit in restrictions if test in _LIMITS},
    }


def _ref(definition: str) -> Schema:
    pointer = definition.replace("~", "~0").replace("/", "~1")
    return {"$ref": f"#/definitions/{quote(pointer, safe=':.~')}"}
