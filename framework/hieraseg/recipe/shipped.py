"""The recipes that are installed with hieraseg, so that they can be run from any folder."""

from importlib.util import find_spec
from pathlib import Path

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
    """A recipe's file: the one at that path, else the shipped one of that name, if there is one."""
    path = Path(given)
    return path if path.is_file() else shipped_recipes().get(path.as_posix(), path)
