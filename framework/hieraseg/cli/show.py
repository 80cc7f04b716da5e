"""`hieraseg show`: print a resolved recipe."""

import json
from argparse import Namespace
from typing import Any

from hieraseg.cli.options import add_command, add_json, add_plugins, add_recipe
from hieraseg.cli.streams import can_write, write_result


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg show`."""
    parser = add_command(
        commands,
        "show",
        run,
        summary="print a recipe with base recipes and defaults filled in",
        description="""
            Print the resolved recipe: base recipes and overrides are merged, and all defaults are
            filled in. The output is a recipe itself, and gives the same run.
        """,
        examples="""
            hieraseg show recipes/quickstart.yaml
            hieraseg show recipes/quickstart.yaml --origin
            hieraseg show recipes/quickstart.yaml --training.epochs 3 > three_epochs.yaml
        """,
        takes_overrides=True,
    )
    add_recipe(parser)
    parser.add_argument(
        "--origin", action="store_true", help="show the file and line that set each value"
    )
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the recipe as YAML, with origins as comments, or as JSON."""
    from hieraseg.recipe import load

    recipe = load(arguments.recipe, arguments.overrides, arguments.plugins)
    if not arguments.json:
        text = recipe.to_yaml(origins=arguments.origin)
        if can_write(text):
            write_result(text, end="")
            return 0
        # Escaped characters would be other values. JSON needs no others, and is YAML as well.
    result = recipe.to_dict()
    if arguments.origin:
        result = {"recipe": result, "origin": dict(recipe.origin)}
    write_result(json.dumps(result, indent=2))
    return 0
