"""Recipes that are installed with hieraseg, and can be run by name from any folder."""

from importlib.util import find_spec
from pathlib import Path

from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.files.paths import expanded

PACKAGE = "hieraseg_recipes"


def shipped_recipes() -> dict[str, Path]:
    """Paths of shipped recipes by name. The name is the relative path without its suffix.

    Files whose names start with `_` are bases of others, which cannot be run by themselves.
    """
    spec = find_spec(PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or []
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for folder in map(Path, folders)
        for path in sorted(folder.rglob("*.yaml"))
        if not path.name.startswith("_")
    }


def recipe_file(given: str | Path) -> Path:
    """Path of a recipe, given as a path or as the name of a shipped recipe.

    Args:
        given: path or name. A path with a suffix is returned unchecked. A folder is no recipe, so
            that one with the data of a recipe does not hide it.

    Raises:
        RecipeError: there is neither a file at this path nor a shipped recipe with this name.
    """
    path = expanded(given)
    if path.suffix or (path.exists() and not path.is_dir()):
        return path
    shipped = shipped_recipes()
    if path.as_posix() not in shipped:
        if path.exists():
            return path
        hint = did_you_mean(path.as_posix(), list(shipped))
        raise RecipeError(
            f"{path}: no such recipe file, and no shipped recipe has this name, {hint}"
        )
    return shipped[path.as_posix()]
