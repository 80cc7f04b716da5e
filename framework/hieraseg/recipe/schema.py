"""The JSON Schema of recipes, by which editors complete, explain and check them.

It is built from the registries and signatures, as the checker is, and accepts whatever the checker
accepts. It is looser where a schema cannot tell: `1.0` for an int, the keys of a mapping, arguments
that do not go together, and everything that depends on the base recipe.
"""

import json
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin
from urllib.parse import quote

from hieraseg.errors import RecipeError
from hieraseg.recipe.arguments import Argument, arguments_of, docstring_of
from hieraseg.recipe.checking import CORE_SECTIONS, sections
from hieraseg.recipe.environment import REFERENCE
from hieraseg.recipe.values import kind_of, registry_in, type_name
from hieraseg.registry import Registry, by_section, by_singular
from hieraseg.types import constraints_of

Schema = dict[str, Any]

# Editors read `errorMessage` and `doNotSuggest`; other readers of a schema ignore them.
_VARIABLE: Schema = {
    "type": "string",
    "pattern": REFERENCE.pattern,
    "errorMessage": "Expected an environment variable, as in ${NAME} or ${NAME:-default}.",
}
_FILES: Schema = {
    "base": {
        "type": "string",
        "minLength": 1,
        "description": "The recipe that this one extends: its path relative to this file, or the "
        "name of a shipped recipe.",
    },
    "plugins": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Python files that register components, relative to this file.",
    },
}
_SWEEP: Schema = {
    "description": "The runs of a study, which `hieraseg run` does one after the other.",
    "type": "object",
    "properties": {
        "seeds": {
            "description": "The seeds of each row.",
            "type": "array",
            "items": {
                "anyOf": [{"type": "integer", "minimum": 0}, {"$ref": "#/definitions/variable"}]
            },
            "minItems": 1,
            "uniqueItems": True,
        },
        "grid": {
            "description": "Values of keys such as loss.gamma, all of which are combined.",
            "type": "object",
            "additionalProperties": {"type": "array", "minItems": 1},
        },
        "rows": {
            "description": "By the name of each row, sections that are merged above the recipe.",
            "type": "object",
            "additionalProperties": {"$ref": "#/definitions/row"},
            "minProperties": 1,
        },
    },
    "additionalProperties": False,
}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", None: "null"}


class _Settings(NamedTuple):
    """Arguments of a class or function, and the first line of its docstring."""

    summary: str
    arguments: dict[str, Argument]


def recipe_schema() -> tuple[Schema, list[str]]:
    """The schema (draft-07), and the problem of each component that is left out of it."""
    broken: list[str] = []
    definitions = {"variable": _VARIABLE}
    registries = by_section()
    for registry in by_singular().values():
        definitions |= _definitions(registry, broken)
    properties = {section: _ref(section) for section in sections()}
    for section, settings in CORE_SECTIONS.items():
        properties[section] = _object(_settings(settings))
    definitions["row"] = _row(registries)
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Written by `hieraseg schema`.",
        "title": "hieraseg recipe",
        "type": "object",
        "properties": {**_FILES, "sweep": _SWEEP, **properties},
        "additionalProperties": False,
        "dependencies": _replaced(registries),
        # Rows of a sweep can give what the recipe lacks.
        "if": {"anyOf": [{"required": ["base"]}, {"required": ["sweep"]}]},
        "then": {"properties": {section: _ref(f"{section}.merged") for section in registries}},
        "else": {
            "allOf": _required(registries),
            "properties": {section: _ref(f"{section}.complete") for section in registries},
        },
        "definitions": definitions,
    }
    return schema, broken


def _row(registries: dict[str, Registry]) -> Schema:
    """A row of a sweep: sections on top of a recipe."""
    of_kinds = {
        section: {"allOf": [_ref(section), _ref(f"{section}.merged")]} for section in registries
    }
    of_core = {section: {"$ref": f"#/properties/{section}"} for section in CORE_SECTIONS}
    return {
        "type": ["object", "null"],
        "properties": {**of_kinds, **of_core},
        "additionalProperties": False,
    }


def _replaced(registries: dict[str, Registry]) -> Schema:
    """By section, those that cannot stand beside it, since it replaces them."""
    return {
        name: {"properties": dict.fromkeys(registry.kind.replaces, False)}
        for name, registry in registries.items()
        if registry.kind.replaces
    }


def _required(registries: dict[str, Registry]) -> list[Schema]:
    """One condition for each section that a complete recipe needs, or another that replaces it."""
    instead: dict[str, list[str]] = {}
    for name, registry in registries.items():
        for section in registry.kind.replaces:
            instead.setdefault(section, []).append(name)
    return [
        {"anyOf": [{"required": [one]} for one in (name, *instead[name])]}
        if name in instead
        else {"required": [name]}
        for name, registry in registries.items()
        if registry.kind.required
    ]


def as_text(schema: Schema) -> str:
    """The schema as the content of a file."""
    return json.dumps(schema, indent=1, allow_nan=False) + "\n"


def _definitions(registry: Registry, broken: list[str]) -> dict[str, Schema]:
    """Definitions of a section that names components, and of each component.

    Whether a component's keys are complete is a definition of its own: on top of a base recipe they
    need not be. A section with many components is a list, which replaces that of the base.
    """
    section, kind = registry.section, registry.kind
    known = _known(registry, broken)
    names = [{"const": name, "description": one.summary} for name, one in known.items()]
    any_keys = {"anyOf": [_ref(f"{section}:{name}") for name in known] or [{"not": {}}]}
    own_keys = [_if_named({"const": name}, _ref(f"{section}:{name}")) for name in known]
    required = {
        name: [key for key, argument in one.arguments.items() if argument.required]
        for name, one in known.items()
    }
    component: Schema = {
        "description": f"The {kind.singular}; `hieraseg list {kind.name}` describes each.",
        "anyOf": [_ref(f"{section}.name"), {"type": "object"}],
        "properties": {"name": _ref(f"{section}.name")},
        "allOf": [*own_keys, _if_named(_ref("variable"), any_keys)],
    }
    complete: Schema = {
        "allOf": [
            {"required": ["name"]},
            *(_with_keys(name, keys) for name, keys in required.items() if keys),
        ]
    }
    merged: Schema = {
        "if": {"type": "object", "not": {"required": ["name"]}},
        "then": any_keys,
    }
    if kind.many:
        component = {"type": "array", "items": component}
        complete = merged = {"items": complete}
    of_each = {
        f"{section}:{name}": _object(one, name={"doNotSuggest": True})
        for name, one in known.items()
    }
    return {
        section: component,
        f"{section}.name": {"anyOf": [*names, _ref("variable")]},
        f"{section}.complete": complete,
        f"{section}.merged": merged,
        **of_each,
    }


def _known(registry: Registry, broken: list[str]) -> dict[str, _Settings]:
    """The arguments of each component; the problems of broken ones are added to `broken`."""
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
            broken.append(f"{registry.singular} {name!r} of {registry.origins()[name]}: {error}")
    return known


def _settings(component: Any, supplied: frozenset[str] = frozenset()) -> _Settings:
    summary = docstring_of(component).partition("\n")[0]
    return _Settings(summary, arguments_of(component, supplied))


def _if_named(name: Schema, then: Schema) -> Schema:
    return {"if": _named(name), "then": then}


def _named(name: Schema) -> Schema:
    return {"type": "object", "required": ["name"], "properties": {"name": name}}


def _with_keys(name: str, keys: list[str]) -> Schema:
    """A component with required keys, which its name alone does not give."""
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
    """The values that `values.fits` accepts for a type, and variables in the place of scalars."""
    if get_origin(hint) is Annotated:
        schema = _of_type(get_args(hint)[0])
        for constraint in constraints_of(hint):
            schema |= constraint.schema()
        if "errorMessage" in schema:
            schema["errorMessage"] = f"Expected {type_name(hint)}."
        return schema
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
    if kind is str:
        return {"type": "string"}
    return {
        "type": [_JSON_TYPES[kind], "string"],
        "pattern": REFERENCE.pattern,
        "errorMessage": f"Expected {type_name(hint)}.",
    }


def _choice(values: list[Any]) -> Schema:
    return {"anyOf": [{"enum": values}, _ref("variable")]}


def _ref(definition: str) -> Schema:
    pointer = definition.replace("~", "~0").replace("/", "~1")
    return {"$ref": f"#/definitions/{quote(pointer, safe=':.~')}"}
