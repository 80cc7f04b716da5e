"""`hieraseg validate`: are these recipes right?"""

import json
from argparse import Namespace
from typing import Any

from hieraseg.cli.parsing import add_command, add_json, add_plugins
from hieraseg.errors import DataError, HierasegError


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `hieraseg`."""
    parser = add_command(
        commands,
        "validate",
        run,
        summary="check recipes without running them",
        description="""
            Check recipes: every name, key, type, range and path. All problems are shown at once,
            each with its file and line. Exit code 2 if any recipe is wrong. Data that are not on
            this machine are a warning.

            With --build, each recipe that is right is tried as well: everything it names is
            built, and takes one training step with one batch of its data, on the CPU. Exit code
            2 if that fails, 3 if the data cannot be used.
        """,
        examples="""
            hieraseg validate recipes/quickstart.yaml
            hieraseg validate recipes/*.yaml --training.precision 32-true
            hieraseg validate my_recipe.yaml --build
        """,
        takes_overrides=True,
    )
    parser.add_argument(
        "recipes", metavar="RECIPE", nargs="+", help="a recipe file, or the name of a shipped one"
    )
    parser.add_argument(
        "--build", action="store_true", help="build the model and take one step on the CPU"
    )
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print one line per recipe that is right, and the problems of the others."""
    answers = [_answer(recipe, arguments) for recipe in arguments.recipes]
    codes = [answer.pop("code") for answer in answers]
    if arguments.json:
        print(json.dumps(answers, indent=2))
    return min(filter(None, codes), default=0)


def _answer(name: str, arguments: Namespace) -> dict[str, Any]:
    """What is to be said of a recipe, and the exit code; it is said at once but for `--json`."""
    from hieraseg.recipe import load

    answer: dict[str, Any] = {"recipe": name, "ok": True, "problems": [], "code": 0}
    said = "ok"
    try:
        try:
            recipe = load(name, arguments.overrides, arguments.plugins, require_paths=True)
        except DataError as error:
            if arguments.build:
                raise
            answer["warnings"] = str(error).splitlines()
            said = f"ok, but a run needs its data: {'; '.join(answer['warnings'])}"
        else:
            if arguments.build:
                answer["trial"], said = _try(recipe)
    except HierasegError as error:
        answer |= {"ok": False, "problems": str(error).splitlines(), "code": error.exit_code}
    if not arguments.json:
        print("\n".join(answer["problems"]) or f"{name}: {said}", flush=True)
    return answer


def _try(recipe: Any) -> tuple[dict[str, Any], str]:
    """What one step cost, and the same in words."""
    from dataclasses import asdict

    from hieraseg.training.dry_run import dry_run

    trial = dry_run(recipe)
    memory = f", {trial.peak_memory_bytes / 2**30:.1f} GiB" if trial.peak_memory_bytes else ""
    said = (
        f"ok; one step on the CPU: loss {trial.loss:.4f}, {trial.parameters / 1e6:.2f} M "
        f"parameters, {trial.images} images in {trial.seconds:.1f} s{memory}"
    )
    return asdict(trial), said
