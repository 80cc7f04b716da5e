"""Recipes: read, composed from layers, checked, resolved and printed.

>>> recipe = load("recipes/quickstart.yaml", [("training.epochs", "3")])  # doctest: +SKIP
>>> recipe["loss"].arguments  # doctest: +SKIP
"""

from collections.abc import Sequence
from pathlib import Path

from hieraseg.console import log
from hieraseg.errors import DataError, RecipeError
from hieraseg.importing import importing
from hieraseg.recipe.composing import Composed, PluginReference, compose
from hieraseg.recipe.reading import COMMAND_LINE, Override, Problem
from hieraseg.recipe.resolved import Recipe
from hieraseg.recipe.shipped import recipe_file
from hieraseg.recipe.spec import ComponentSpec

__all__ = ["ComponentSpec", "Recipe", "load", "load_row"]


def load(
    path: Path | str,
    overrides: Sequence[tuple[str, str]] = (),
    plugins: Sequence[Path] = (),
    require_paths: bool = False,
    trains: bool = True,
) -> Recipe:
    """Read a recipe, merge it with its base recipes and overrides, check it, fill in defaults.

    A sweep in it is left out, and a log line says so.

    Args:
        path: path of the recipe file, or the name of a shipped recipe.
        overrides: dotted key and value of each override of the command line, as in
            `("loss.gamma", "2")` or `("loss", "tree_min")`; the value is parsed as YAML.
        plugins: plugin files of the command line, in addition to those of the recipe.
        require_paths: whether files and folders that the recipe names must exist.
        trains: whether it is trained; else components that only training uses may have problems,
            and must not be built.

    Raises:
        RecipeError: all problems, one per line, each as `file:line: key: what is wrong`.
        DataError: the only problem is that the data set's files do not exist.
    """
    path = recipe_file(path)
    composed = compose(path, overrides)
    recipe = _resolve(path, composed, plugins, require_paths, trains)
    if composed.sweep is not None:
        log(f"{path}: its sweep is left out, which only `hieraseg run` and `validate` follow")
    return recipe


def load_row(
    path: Path | str,
    overrides: Sequence[tuple[str, str] | Override] = (),
    plugins: Sequence[Path] = (),
    row: str | None = None,
) -> Recipe:
    """Read a recipe as one run of its sweep. Files and folders that it names must exist.

    Args:
        path: as in `load`.
        overrides: as in `load`, and values of swept keys.
        plugins: as in `load`.
        row: row of the sweep, if it has rows.

    Raises:
        RecipeError: as in `load`.
        DataError: as in `load`.
    """
    path = recipe_file(path)
    return _resolve(path, compose(path, overrides, row), plugins, require_paths=True)


def _resolve(
    path: Path,
    composed: Composed,
    plugins: Sequence[Path],
    require_paths: bool,
    trains: bool = True,
) -> Recipe:
    from hieraseg.recipe.plugins import open_plugins
    from hieraseg.registry import plugin_files

    problems = list(composed.problems)
    typed = [PluginReference(plugin, COMMAND_LINE, "--plugin") for plugin in plugins]
    # A run folder has copies of the plugin files, which take precedence over all others.
    in_run_folder = (path.parent / "provenance.json").is_file()
    with importing():
        files, found = open_plugins([*composed.plugins, *typed], in_run_folder)
        problems += found
        with plugin_files(files, in_run_folder):
            # Imports components and with them torch, which importing this package does not.
            from hieraseg.recipe.checking import check
            from hieraseg.recipe.moved import as_written_now

            sections = composed.sections
            sections = as_written_now(sections) if in_run_folder else sections
            recipe, found = check(path, sections, files, require_paths, trains)
    problems += found
    if recipe is None or problems:
        is_data = all(problem.of_data for problem in problems)
        raise (DataError if is_data else RecipeError)("\n".join(_one_per_key(problems)))
    return recipe


def _one_per_key(problems: list[Problem]) -> list[str]:
    """Problems by file and line, then those of the command line; one for each key and place."""
    first: dict[tuple[object, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.place, problem.key), problem)
    ordered = sorted(first.values(), key=lambda one: (one.place == COMMAND_LINE, one.place))
    return [str(problem) for problem in ordered]
