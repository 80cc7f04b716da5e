"""Recipes: read, compose, check, resolve and print them.

>>> recipe = load("recipes/quickstart.yaml", [("training.epochs", "3")])  # doctest: +SKIP
>>> recipe["loss"].arguments  # doctest: +SKIP
"""

from collections.abc import Sequence
from pathlib import Path

from hieraseg.errors import DataError, RecipeError
from hieraseg.recipe.composing import PluginReference, compose
from hieraseg.recipe.reading import COMMAND_LINE, Problem
from hieraseg.recipe.resolved import Recipe
from hieraseg.recipe.shipped import recipe_file
from hieraseg.recipe.spec import ComponentSpec

__all__ = ["ComponentSpec", "Recipe", "load"]


def load(
    path: Path | str,
    overrides: Sequence[tuple[str, str]] = (),
    plugins: Sequence[Path] = (),
    require_paths: bool = False,
) -> Recipe:
    """Read a recipe, put it on its base recipes, check it and fill in the defaults.

    Args:
        path: of the recipe file, or the name of a shipped one.
        overrides: dotted key and text as typed on the command line, as in `("loss.gamma", "2")`
            or `("loss", "tree_min")`; the text is read as YAML.
        plugins: plugin files of the command line, beside those that the recipe names.
        require_paths: whether the files and folders that it names must be there.

    Raises:
        RecipeError: all problems, one a line, each as `file:line: key: what is wrong`.
        DataError: nothing is wrong but that the data set's files are not there.
    """
    # Checking needs the components and so torch, which `import hieraseg.recipe` shall not load.
    from hieraseg.recipe.checking import check
    from hieraseg.recipe.plugins import open_plugins
    from hieraseg.registry import plugin_files

    path = recipe_file(path)
    sections, named, problems = compose(path, overrides)
    typed = [PluginReference(plugin, COMMAND_LINE, "--plugin") for plugin in plugins]
    # A run folder's recipe comes with copies of its plugin files, which are the ones to use.
    in_run_folder = (path.parent / "provenance.json").is_file()
    files, found = open_plugins([*named, *typed], in_run_folder)
    problems += found
    with plugin_files(files, in_run_folder):
        recipe, found = check(path, sections, files, require_paths)
    problems += found
    if recipe is None or problems:
        is_data = all(problem.of_data for problem in problems)
        raise (DataError if is_data else RecipeError)("\n".join(_one_per_key(problems)))
    return recipe


def _one_per_key(problems: list[Problem]) -> list[str]:
    """By file and line, then the command line; a value that could not be read stands there once."""
    first: dict[tuple[object, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.place, problem.key), problem)
    ordered = sorted(first.values(), key=lambda one: (one.place == COMMAND_LINE, one.place))
    return [str(problem) for problem in ordered]
