"""`hieraseg schema`: print the JSON Schema of recipes."""

import sys
from argparse import Namespace
from typing import Any

from hieraseg.cli.options import add_command, add_plugins
from hieraseg.cli.plugins import loaded_plugins
from hieraseg.cli.streams import write_result


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg schema`."""
    parser = add_command(
        commands,
        "schema",
        run,
        summary="print the JSON Schema of recipes, for editors",
        description="""
            Print the JSON Schema (draft-07) of recipes, with all installed components. An editor
            that supports JSON Schema then completes, documents and checks recipes. Components
            that cannot be used are left out, and listed on stderr.
        """,
        examples="""
            hieraseg schema > recipe.schema.json
            hieraseg schema --plugin my_loss.py > recipe.schema.json
        """,
    )
    add_plugins(parser)


def run(arguments: Namespace) -> int:
    """Print the schema, and warn of components that are left out."""
    from hieraseg.recipe.schema import as_text, recipe_schema

    with loaded_plugins(arguments):
        schema, broken = recipe_schema()
    for message in broken:
        print(f"hieraseg: left out: {message}", file=sys.stderr)
    write_result(as_text(schema), end="")
    return 0
