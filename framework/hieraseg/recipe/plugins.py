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
    """The files, each run; and what is wrong with them.

    Args:
        named: the files, and where they are named.
        shadow: as in `registry.plugin_files`.
    """
    opened: dict[Path, tuple[PluginFile, PluginReference]] = {}
    problems = []
    for one in named:
        try:
            file = PluginFile.read(one.path)
            opened.setdefault(file.path.resolve(), (file, one))  # perhaps named twice, by a link
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
    return files, problems
