"""Plugin files given on the command line."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from hieraseg.errors import RecipeError
from hieraseg.registry import plugin_files


@contextmanager
def loaded_plugins(arguments: Namespace) -> Iterator[None]:
    """Make the components of all `--plugin` files known to the registries inside this context.

    Raises:
        RecipeError: a file cannot be imported, or registers a duplicate.
    """
    from hieraseg.recipe.composing import PluginReference
    from hieraseg.recipe.plugins import open_plugins
    from hieraseg.recipe.reading import COMMAND_LINE

    named = [PluginReference(plugin, COMMAND_LINE, "--plugin") for plugin in arguments.plugins]
    files, problems = open_plugins(named)
    if problems:
        raise RecipeError("\n".join(map(str, problems)))
    with plugin_files(files):
        yield
