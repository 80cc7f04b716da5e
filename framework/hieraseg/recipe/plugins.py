"""The plugin files that a recipe or a command names."""

from collections.abc import Sequence

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
    files: list[PluginFile] = []
    mistakes = []
    for path, place, key in named:
        try:
            file = PluginFile.read(path)
            if file not in files:
                files.append(file)
            file.components()
        except RecipeError as error:
            mistakes.append(Mistake(place, key, str(error)))
    places = {path.absolute(): (place, key) for path, place, key in named}
    with plugin_files(files, shadow):
        for file in files:
            for kind, name, _ in registered_by(file):
                try:
                    BY_KIND[kind].find(name)
                except RecipeError as error:
                    mistakes.append(Mistake(*places[file.path], str(error)))
    return files, mistakes
