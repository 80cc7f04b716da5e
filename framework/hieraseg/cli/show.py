"""`hieraseg show`: a recipe with everything filled in."""

import json
from argparse import Namespace
from typing import Any

from hieraseg.cli.parsing import add_command, add_json, add_plugins


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `hieraseg`."""
    parser = add_command(
        commands,
        "show",
        run,
        summary="print a recipe with its bases and defaults filled in",
        description="""
            Print the resolved recipe: base recipes and overrides merged in, every default
            filled in. The output is itself a recipe that gives the same run.
        """,
        examples="""
            hieraseg show recipes/quickstart.yaml
            hieraseg show recipes/quickstart.yaml --origin
            hieraseg show recipes/quickstart.yaml --training.epochs 3 > three_epochs.yaml
        """,
        takes_overrides=True,
    )
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a recipe file, or the name of a shipped one"
    )
    parser.add_argument(
        "--origin", action="store_true", help="say of each value where it comes from"
    )
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the recipe as YAML or JSON; the origins follow each value, or stand beside."""
    from hieraseg.recipe import load

    recipe = load(arguments.recipe, arguments.overrides, arguments.plugins)
    if not arguments.json:
        print(recipe.to_yaml(origins=arguments.origin), end="")
    elif arguments.origin:
        print(json.dumps({"recipe": recipe.to_dict(), "origin": dict(recipe.origin)}, indent=2))
    else:
        print(json.dumps(recipe.to_dict(), indent=2))
    return 0
