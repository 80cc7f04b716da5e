"""The recipes that are installed with hieraseg, so that they can be run from any folder."""

from importlib.util import find_spec
from pathlib import Path

from hieraseg.errors import RecipeError, did_you_mean

PACKAGE = "hieraseg_recipes"


def shipped_recipes() -> dict[str, Path]:
    """By name: the path below the folder of recipes, without its ending."""
    spec = find_spec(PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or []
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for folder in map(Path, folders)
        for path in sorted(folder.rglob("*.yaml"))
    }


def recipe_file(given: str | Path) -> Path:
    """A recipe's file: the one at that path, else the shipped one of that name.

    Raises:
        RecipeError: a name, and neither is there; what looks like a file's path is not looked at.
    """
    path = Path(given)
    if path.exists() or path.suffix:
        return path
    shipped = shipped_recipes()
    if path.as_posix() not in shipped:
        hint = did_you_mean(path.as_posix(), list(shipped))
        raise RecipeError(
            f"{path}: no such recipe file, and none is installed by this name, {hint}"
        )
    return shipped[path.as_posix()]
