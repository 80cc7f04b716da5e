"""The plugin files that a recipe or a command names."""

from collections.abc import Sequence
from pathlib import Path

from hieraseg.errors import RecipeError
from hieraseg.recipe.composing import PluginReference
from hieraseg.recipe.reading import Problem
from hieraseg.registry import by_name, plugin_files, registered_by
from hieraseg.registry.files import PluginFile


def open_plugins(
    named: Sequence[PluginReference], shadow: bool = False
) -> tuple[list[PluginFile], list[Problem]]:
    """Read and run plugin files.

    Args:
        named: paths of the files, and where a recipe or command names them.
        shadow: as in `registry.plugin_files`.

    Returns:
        The files that could be read, and all problems.
    """
    opened: dict[Path, tuple[PluginFile, PluginReference]] = {}
    problems = []
    for one in named:
        try:
            file = PluginFile.read(one.path)
            opened.setdefault(file.path.resolve(), (file, one))  # a link may name it twice
            file.components()
        except RecipeError as error:
            problems.append(Problem(one.place, one.key, str(error)))
    files = [file for file, _ in opened.values()]
    with plugin_files(files, shadow):
        for file, one in opened.values():
            for kind, name, _ in registered_by(file):
                try:
                    by_name()[kind].find(name)
                except RecipeError as error:
                    problems.append(Problem(one.place, one.key, str(error)))
    return files, list(dict.fromkeys(problems))  # both files of a duplicate have the same one
