"""`hieraseg resume`: go on with a run that was stopped or killed."""

import sys
from argparse import Namespace
from typing import Any

from hieraseg.cli.failures import explaining_interrupts
from hieraseg.cli.options import add_command, add_json, add_no_plugins, add_run_folder
from hieraseg.cli.report import format_scores, print_result
from hieraseg.console import log
from hieraseg.importing import importing
from hieraseg.launch import is_first_of


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg resume`."""
    parser = add_command(
        commands,
        "resume",
        run,
        summary="go on with a run that was stopped or killed",
        description="""
            Go on with a run that was stopped or killed, from its newest checkpoint, which Ctrl-C
            and SIGTERM write, too. On a CPU its result is the same as if it had not been stopped,
            bit by bit. Of a run that is finished, the scores are printed. Code, plugins and data
            must be those that the run began with; what differs is named. Of the recipe, these keys
            may be changed: training.epochs (increased, also when the run is finished; the learning
            rate is then what it would be in the middle of the longer run), training.device,
            training.devices, training.num_nodes, training.on_nonfinite, validation.patience,
            data.root, input.store, checkpoints.*, logging.* and trackers.

            `hieraseg run RECIPE --resume` finds the run by itself, or begins it.
        """,
        examples="""
            hieraseg resume runs/quickstart/base-seed0
            hieraseg resume runs/quickstart/base-seed0 --training.epochs 16
        """,
        takes_overrides=True,
    )
    add_run_folder(parser)
    add_no_plugins(parser)
    add_json(parser)


@explaining_interrupts("go on with the same command")
def run(arguments: Namespace) -> int:
    """Go on with a run, and print its scores and folder."""
    with importing():
        from hieraseg.runs.folder import RunFolder
        from hieraseg.runs.loading import load_recipe
        from hieraseg.runs.resuming import check_keys, nothing_left
        from hieraseg.train import resume

    folder = RunFolder.open(arguments.run_folder)
    check_keys(folder, arguments.overrides)
    recipe = load_recipe(folder, arguments.run_plugins, arguments.overrides)
    end, training = nothing_left(folder, recipe), recipe.training
    if not end:
        finished = resume(folder, recipe, sys.argv)
    elif is_first_of(training.devices * training.num_nodes):
        log(end)
        finished = folder
    else:
        finished = None
    if finished is not None:
        result = finished.read_result()
        table = format_scores(result["splits"]["val"], f"{folder.path}, val")
        print_result(arguments.json, {"run": str(folder.path), **result}, table)
    return 0
