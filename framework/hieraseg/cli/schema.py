"""`hieraseg schema`: the JSON Schema of recipes, for editors."""

import sys
from argparse import Namespace
from typing import Any

from hieraseg.cli.parsing import add_command, add_plugins, given_plugins


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `hieraseg`."""
    parser = add_command(
        commands,
        "schema",
        run,
        summary="print the JSON Schema of recipes, for editors",
        description="""
            Print the JSON Schema (draft-07) of recipes that name the installed components. An
            editor that knows it completes a recipe, explains its keys and marks problems. A
            component that cannot be used is left out, and named on stderr.
        """,
        examples="""
            hieraseg schema > recipe.schema.json
            hieraseg schema --plugin my_loss.py > recipe.schema.json
        """,
    )
    add_plugins(parser)


def run(arguments: Namespace) -> int:
    """Print the schema; name the components that are left out."""
    from hieraseg.recipe.schema import as_text, recipe_schema

    with given_plugins(arguments):
        schema, broken = recipe_schema()
    for message in broken:
        print(f"hieraseg: left out: {message}", file=sys.stderr)
    print(as_text(schema), end="")
    return 0
