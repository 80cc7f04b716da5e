"""`hieraseg validate`: are these recipes right?"""

import json
from argparse import Namespace
from typing import Any

from hieraseg.cli.parsing import add_command, add_json
from hieraseg.errors import RecipeError


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `hieraseg`."""
    parser = add_command(
        commands,
        "validate",
        run,
        summary="check recipes without running them",
        description="""
            Check recipes: every name, key, type and range. All mistakes are shown at once, each
            with its file and line. Exit code 2 if any recipe is wrong.
        """,
        examples="""
            hieraseg validate recipes/quickstart.yaml
            hieraseg validate recipes/*.yaml --training.precision 32-true
        """,
        takes_overrides=True,
    )
    parser.add_argument("recipes", metavar="RECIPE", nargs="+", help="a recipe file")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print one line per recipe that is right, and the mistakes of the others."""
    from hieraseg.recipe import load

    answers = []
    for recipe in arguments.recipes:
        try:
            load(recipe, arguments.overrides)
            mistakes = []
        except RecipeError as error:
            mistakes = str(error).splitlines()
        answers.append({"recipe": recipe, "ok": not mistakes, "mistakes": mistakes})
        if not arguments.json:
            print("\n".join(mistakes) or f"{recipe}: ok")
    if arguments.json:
        print(json.dumps(answers, indent=2))
    return 0 if all(answer["ok"] for answer in answers) else RecipeError.exit_code
