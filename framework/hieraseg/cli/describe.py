"""What `hieraseg list` tells about components, from their docstrings and signatures."""

import inspect
from pathlib import Path
from typing import Any

from hieraseg.cli import tree
from hieraseg.errors import RecipeError, from_here
from hieraseg.recipe.arguments import Argument, arguments_of, docstring_of
from hieraseg.recipe.reading import inline
from hieraseg.recipe.values import type_name
from hieraseg.registry import Registry


def summaries(registry: Registry) -> list[dict[str, Any]]:
    """Name, origin, arguments and the docstring's first line of each, or why it is broken."""
    found = []
    for name, origin in sorted(registry.origins().items()):
        one: dict[str, Any] = {"name": name, "origin": origin}
        try:
            component = registry.get(name)
            one["arguments"] = list(arguments_of(component, registry.kind.supplied))
            one["summary"] = _description(component).partition("\n")[0]
        except RecipeError as error:
            one["broken"] = " ".join(str(error).split())
        found.append(one)
    return found


def as_dict(registry: Registry, name: str) -> dict[str, Any]:
    """All about one component.

    Raises:
        RecipeError: no component has this name, or it breaks the rules for plugins.
    """
    component = registry.get(name)
    origin = registry.origins()[name]
    try:
        arguments = arguments_of(component, registry.kind.supplied)
    except RecipeError as error:
        raise RecipeError(f"{registry.section} {name!r} of {origin}: {error}") from error
    about: dict[str, Any] = {
        "name": name,
        "section": registry.section,
        "origin": origin,
        "source": _source(component),
        "docstring": _description(component),
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
        "recipe": _recipe_section(registry.section, name, arguments),
    }
    if registry.section == "hierarchy" and not any(one.required for one in arguments.values()):
        about["hierarchy"] = tree.as_dict(component, f"hierarchy {name!r} of {origin}")
    return about


def as_text(about: dict[str, Any]) -> str:
    """What `as_dict` tells, to be read by people."""
    lines = [
        f"{about['section']}: {about['name']}",
        f"from    {about['origin']}",
        f"source  {about['source']}",
        "",
        about["docstring"],
        "",
        *([tree.as_text(about["hierarchy"]), ""] if "hierarchy" in about else []),
        "Arguments in a recipe:" if about["arguments"] else "No arguments in a recipe.",
    ]
    for argument in about["arguments"]:
        default = "required" if argument["required"] else f"default {inline(argument['default'])}"
        lines.append(f"    {argument['name']} ({argument['type']}, {default})")
        if argument["meaning"]:
            lines.append(f"        {argument['meaning']}")
    return "\n".join([*lines, "", "In a recipe:", "", about["recipe"]])


def _recipe_section(section: str, name: str, arguments: dict[str, Argument]) -> str:
    lines = [f"{section}:", f"  name: {inline(name)}"]
    for key, argument in arguments.items():
        value = f" {inline(argument.default)}" if not argument.required else "  # required"
        lines.append(f"  {key}:{value}")
    return "\n".join(lines)


def _description(component: Any) -> str:
    return docstring_of(component) or "(no description)"


def _source(component: Any) -> str:
    try:
        file = Path(inspect.getsourcefile(component) or "")
        line = inspect.getsourcelines(component)[1]
    except (OSError, TypeError):
        return "unknown"
    return f"{from_here(file)}:{line}"
