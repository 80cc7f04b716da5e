"""Descriptions of components for `hieraseg list`, from their docstrings and signatures."""

import inspect
from pathlib import Path
from typing import Any

from hieraseg.cli import fits, tree
from hieraseg.errors import RecipeError, did_you_mean, from_here
from hieraseg.files.strict_yaml import inline
from hieraseg.recipe.arguments import Argument, arguments_of, docstring_of
from hieraseg.recipe.values import type_name
from hieraseg.registry import Registry


def summarize(registry: Registry, name: str) -> dict[str, Any]:
    """Name, origin, argument names, summary, and what it fits, or why a component is broken."""
    summary: dict[str, Any] = {"name": name, "origin": registry.origins()[name]}
    try:
        component = registry.get(name)
        summary["arguments"] = list(arguments_of(component, registry.kind.supplied))
        summary["summary"] = _docstring(component).partition("\n")[0]
        summary |= _fits(registry, component)
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
        raise RecipeError(f"{registry.singular} {name!r} of {origin}: {error}") from error
    description: dict[str, Any] = {
        "name": name,
        "section": registry.singular,
        "origin": origin,
        "source": _source(component),
        **_fits(registry, component),
        "docstring": _docstring(component),
        "arguments": _as_list(arguments),
        "recipe": _recipe_section(registry, name, arguments),
    }
    if registry.section == "hierarchy" and not any(one.required for one in arguments.values()):
        description["hierarchy"] = tree.as_dict(component, f"hierarchy {name!r} of {origin}")
    return description


def section_as_dict(section: str, key: str | None = None) -> dict[str, Any]:
    """Description of a section that names no component, or of one of its keys.

    Raises:
        RecipeError: the section has no such key.
    """
    from hieraseg.recipe.checking import CORE_SECTIONS

    settings = CORE_SECTIONS[section]
    arguments = arguments_of(settings)
    if key is not None:
        if key not in arguments:
            raise RecipeError(f"{section}: unknown key {key!r}, {did_you_mean(key, arguments)}")
        arguments = {key: arguments[key]}
    return {
        "section": section,
        "docstring": _docstring(settings).partition("\n\nArgs:")[0],  # a list of them follows
        "arguments": _as_list(arguments),
        "recipe": "\n".join([f"{section}:", *_keys(arguments, "  ")]),
    }


def as_text(description: dict[str, Any]) -> str:
    """The description of `as_dict` or `section_as_dict`, formatted for people."""
    lines = [description["section"], ""]
    if "name" in description:
        lines = [
            f"{description['section']}: {description['name']}",
            f"from    {description['origin']}",
            f"source  {description['source']}",
            *([f"fits    {fits.as_text(description['fits'])}"] if description.get("fits") else []),
            "",
        ]
    lines += [
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


def _fits(registry: Registry, component: Any) -> dict[str, Any]:
    """What it fits, under the key `fits`, if its kind has that."""
    return {"fits": fits.of(component, registry.kind)} if registry.kind.fits else {}


def _as_list(arguments: dict[str, Argument]) -> list[dict[str, Any]]:
    return [
        {
            "name": argument.name,
            "type": type_name(argument.type),
            "required": argument.required,
            "default": argument.default,
            "meaning": argument.meaning,
        }
        for argument in arguments.values()
    ]


def _recipe_section(registry: Registry, name: str, arguments: dict[str, Argument]) -> str:
    """A section to copy into a recipe, with all defaults."""
    kind = registry.kind
    above, indent = [f"{kind.section}:"], "  "
    if kind.within:
        above, indent = [f"{kind.within}:", f"  {kind.name}:"], "    "
    if kind.many or kind.within:
        lines = [f"{indent}- name: {inline(name)}", *_keys(arguments, f"{indent}  ")]
    else:
        lines = [f"{indent}name: {inline(name)}", *_keys(arguments, indent)]
    return "\n".join([*above, *lines])


def _keys(arguments: dict[str, Argument], indent: str) -> list[str]:
    """A line of YAML per argument, with its default."""
    return [
        f"{indent}{key}:" + ("  # required" if one.required else f" {inline(one.default)}")
        for key, one in arguments.items()
    ]


def _docstring(component: Any) -> str:
    return docstring_of(component) or "(no description)"


def _source(component: Any) -> str:
    try:
        file = Path(inspect.getsourcefile(inspect.unwrap(component)) or "")
        line = inspect.getsourcelines(component)[1]
    except (OSError, TypeError):
        return "unknown"
    return f"{from_here(file)}:{line}"
