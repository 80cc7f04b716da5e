"""`hieraseg validate`: check recipes without running them."""

import json
from argparse import Namespace
from typing import Any

from hieraseg.cli.options import RECIPE_HELP, add_command, add_json, add_plugins
from hieraseg.cli.streams import write_result
from hieraseg.errors import DataError, HierasegError


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg validate`."""
    parser = add_command(
        commands,
        "validate",
        run,
        summary="check recipes without running them",
        description="""
            Check the names, keys, types, ranges and paths of recipes. All problems are reported
            at once, each with its file and line. A missing data folder is only a warning.

            With --build, the components of each valid recipe are also built, and take one
            training step on the CPU with one batch of the data.

            Exit code 0 if all recipes are valid, 2 if a recipe has a problem or its training step
            fails, 3 if the data cannot be used.
        """,
        examples="""
            hieraseg validate recipes/quickstart.yaml
            hieraseg validate recipes/*.yaml --training.precision 32-true
            hieraseg validate my_recipe.yaml --build
        """,
        takes_overrides=True,
    )
    parser.add_argument("recipes", metavar="RECIPE", nargs="+", help=RECIPE_HELP)
    parser.add_argument(
        "--build", action="store_true", help="also take one training step on the CPU"
    )
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print one line per valid recipe, and all problems of the others."""
    results, codes = [], []
    for recipe in arguments.recipes:
        result, summary, code = _validate(recipe, arguments)
        results.append(result)
        codes.append(code)
        if not arguments.json:
            write_result("\n".join(result["problems"]) or f"{recipe}: {summary}")
    if arguments.json:
        write_result(json.dumps(results, indent=2))
    return min(filter(None, codes), default=0)


def _validate(name: str, arguments: Namespace) -> tuple[dict[str, Any], str, int]:
    """Validate one recipe. Returns the result as JSON values, a one-line summary, the exit code."""
    from hieraseg.recipe import load

    result: dict[str, Any] = {"recipe": name, "ok": True, "problems": []}
    try:
        recipe = load(name, arguments.overrides, arguments.plugins, require_paths=True)
        if not arguments.build:
            return result, "ok", 0
        result["trial"], summary = _dry_run(recipe)
        return result, summary, 0
    except HierasegError as error:
        lines = str(error).splitlines()
        if isinstance(error, DataError) and not arguments.build:
            result["warnings"] = lines
            return result, f"ok, but a run needs its data: {'; '.join(lines)}", 0
        return {**result, "ok": False, "problems": lines}, "", error.exit_code


def _dry_run(recipe: Any) -> tuple[dict[str, Any], str]:
    """Take one training step. Returns its cost as JSON values, and as text."""
    from dataclasses import asdict

    from hieraseg.training.dry_run import dry_run

    step = dry_run(recipe)
    memory = f", {step.peak_memory_bytes / 2**30:.1f} GiB" if step.peak_memory_bytes else ""
    summary = (
        f"ok; one step on the CPU: loss {step.loss:.4f}, {step.parameters / 1e6:.2f} M "
        f"parameters, {step.images} images in {step.seconds:.1f} s{memory}"
    )
    return asdict(step), summary
