"""The plugin files that a recipe or a command names."""

from collections.abc import Sequence
from pathlib import Path

from hieraseg.errors import RecipeError
from hieraseg.plugin_files import PluginFile
from hieraseg.recipe.composing import Named
from hieraseg.recipe.reading import Mistake
from hieraseg.registry import BY_KIND, plugin_files, registered_by


def open_plugins(
    named: Sequence[Named], shadow: bool = False
) -> tuple[list[PluginFile], list[Mistake]]:
    """The files, each run; and what is wrong with them.

    Args:
        named: the files, and where they are named.
        shadow: as in `registry.plugin_files`.
    """
    opened: dict[Path, tuple[PluginFile, Named]] = {}
    mistakes = []
    for one in named:
        try:
            file = PluginFile.read(one.path)
            opened.setdefault(file.path.resolve(), (file, one))  # perhaps named twice, by a link
            file.components()
        except RecipeError as error:
            mistakes.append(Mistake(one.place, one.key, str(error)))
    files = [file for file, _ in opened.values()]
    with plugin_files(files, shadow):
        for file, one in opened.values():
            for kind, name, _ in registered_by(file):
                try:
                    BY_KIND[kind].find(name)
                except RecipeError as error:
                    mistakes.append(Mistake(one.place, one.key, str(error)))
    return files, mistakes
