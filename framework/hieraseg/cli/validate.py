"""`hieraseg validate`: check recipes without running them."""

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hieraseg.cli.options import RECIPE_HELP, add_command, add_json, add_plugins
from hieraseg.cli.streams import write_result
from hieraseg.console import log
from hieraseg.errors import DataError, HierasegError

if TYPE_CHECKING:
    from hieraseg.sweeps.jobs import Job


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg validate`."""
    parser = add_command(
        commands,
        "validate",
        run,
        summary="check recipes without running them",
        description="""
            Check the names, keys, types, ranges and paths of recipes, and of all rows and values
            that a recipe sweeps. All problems are reported at once, each with its file and line. A
            missing data folder is only a warning.

            With --build, the components of each valid recipe, row and value are also built, and
            take one training step on the CPU with one batch of the data.

            Exit code 0 if all recipes are valid, 2 if a recipe has a problem or its training step
            fails, 3 if the data cannot be used.
        """,
        examples="""
            hieraseg validate recipes/quickstart.yaml
            hieraseg validate recipes/quickstart*.yaml --training.precision 32-true
            hieraseg validate quickstart --build
            hieraseg validate study_quickstart
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
    from hieraseg.sweeps.planning import Request, plan

    result: dict[str, Any] = {"recipe": name, "ok": True, "problems": []}
    summary = "ok"
    try:
        planned = plan(Request(name, arguments.overrides, arguments.plugins))
        if planned.is_sweep:
            result["jobs"] = [job.title for job in planned.jobs]
            summary = f"ok, {len(planned.jobs)} jobs"
            if arguments.build:
                result["trials"] = _dry_runs(planned.jobs)
        elif arguments.build:
            result["trial"], summary = _dry_run(planned.jobs[0].recipe)
        return result, summary, 0
    except HierasegError as error:
        lines = str(error).splitlines()
        if isinstance(error, DataError) and not arguments.build:
            result["warnings"] = lines
            return result, f"ok, but a run needs its data: {'; '.join(lines)}", 0
        return {**result, "ok": False, "problems": lines}, "", error.exit_code


def _dry_runs(jobs: Sequence["Job"]) -> dict[str, Any]:
    """Take one training step for each name of jobs. Returns the costs as JSON values."""
    trials = {}
    for name, recipe in {job.name: job.recipe for job in jobs}.items():  # a name has no seed
        try:
            trials[name], summary = _dry_run(recipe)
        except HierasegError as error:
            raise type(error)(f"{name}: {error}") from error
        log(f"{name}: {summary}")
    return trials


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
