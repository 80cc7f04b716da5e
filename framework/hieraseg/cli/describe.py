"""Descriptions of components for `hieraseg list`, from their docstrings and signatures."""

import inspect
from pathlib import Path
from typing import Any

from hieraseg.cli import tree
from hieraseg.errors import RecipeError, from_here
from hieraseg.recipe.arguments import Argument, arguments_of, docstring_of
from hieraseg.recipe.values import type_name
from hieraseg.registry import Registry
from hieraseg.strict_yaml import inline


def summarize(registry: Registry, name: str) -> dict[str, Any]:
    """Name, origin, argument names and summary of a component, or why it is broken."""
    summary: dict[str, Any] = {"name": name, "origin": registry.origins()[name]}
    try:
        component = registry.get(name)
        summary["arguments"] = list(arguments_of(component, registry.kind.supplied))
        summary["summary"] = _docstring(component).partition("\n")[0]
    except RecipeError as error:
        summary["broken"] = " ".join(str(error).split())
    return summary


def as_dict(registry: Registry, name: str) -> dict[str, Any]:
    """Full description of a component as JSON values.

    Raises:
        RecipeError: there is no such component, or it breaks the rules for plugins.
    """
    component = registry.get(name)
    origin = registry.origins()[name]
    try:
        arguments = arguments_of(component, registry.kind.supplied)
    except RecipeError as error:
        raise RecipeError(f"{registry.section} {name!r} of {origin}: {error}") from error
    description: dict[str, Any] = {
        "name": name,
        "section": registry.section,
        "origin": origin,
        "source": _source(component),
        "docstring": _docstring(component),
        "arguments": [
            {
                "name": argument.name,
                "type": type_name(argument.type),
                "required": argument.required,
                "default": argument.default,
                "meaning": argument.meaning,
            }
            for argument in arguments.values()
        ],
        "recipe": _recipe_section(registry, name, arguments),
    }
    if registry.section == "hierarchy" and not any(one.required for one in arguments.values()):
        description["hierarchy"] = tree.as_dict(component, f"hierarchy {name!r} of {origin}")
    return description


def as_text(description: dict[str, Any]) -> str:
    """The description of `as_dict`, formatted for people."""
    lines = [
        f"{description['section']}: {description['name']}",
        f"from    {description['origin']}",
        f"source  {description['source']}",
        "",
        description["docstring"],
        "",
        *([tree.as_text(description["hierarchy"]), ""] if "hierarchy" in description else []),
        "Arguments in a recipe:" if description["arguments"] else "No arguments in a recipe.",
    ]
    for argument in description["arguments"]:
        default = "required" if argument["required"] else f"default {inline(argument['default'])}"
        lines.append(f"    {argument['name']} ({argument['type']}, {default})")
        if argument["meaning"]:
            lines.append(f"        {argument['meaning']}")
    return "\n".join([*lines, "", "In a recipe:", "", description["recipe"]])


def _recipe_section(registry: Registry, name: str, arguments: dict[str, Argument]) -> str:
    """A section to copy into a recipe, with all defaults."""
    first, indent = ("  - ", "    ") if registry.kind.many else ("  ", "  ")
    lines = [f"{registry.section}:", f"{first}name: {inline(name)}"]
    for key, argument in arguments.items():
        value = f" {inline(argument.default)}" if not argument.required else "  # required"
        lines.append(f"{indent}{key}:{value}")
    return "\n".join(lines)


def _docstring(component: Any) -> str:
    return docstring_of(component) or "(no description)"


def _source(component: Any) -> str:
    try:
        file = Path(inspect.getsourcefile(inspect.unwrap(component)) or "")
        line = inspect.getsourcelines(component)[1]
    except (OSError, TypeError):
        return "unknown"
    return f"{from_here(file)}:{line}"
