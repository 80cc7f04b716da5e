"""`hieraseg run`: train recipes."""

from argparse import SUPPRESS, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg import launch
from hieraseg.cli.failures import explaining_interrupts
from hieraseg.cli.options import (
    add_command,
    add_json,
    add_out,
    add_plugins,
    add_recipe,
    non_negative_int,
    positive_int,
)
from hieraseg.cli.run_job import run_job
from hieraseg.cli.sweep_report import Report
from hieraseg.console import progress
from hieraseg.errors import INTERRUPTED, DivergedError, RecipeError, Stopped
from hieraseg.launch import Finished
from hieraseg.sweeps.launchers import add_options, from_arguments

if TYPE_CHECKING:  # imports recipes, which `hieraseg --help` does not wait for
    from hieraseg.sweeps.earlier import Earlier
    from hieraseg.sweeps.jobs import Job
    from hieraseg.sweeps.outcomes import Outcome
    from hieraseg.sweeps.planning import Plan, Request

_Do = Callable[[Sequence["Job"]], Iterator["Outcome"]]


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg run`."""
    parser = add_command(
        commands,
        "run",
        run,
        summary="train a recipe, also with several seeds and swept values",
        description="""
            Train a recipe, and score the model on the validation split. Each run writes a folder
            with the resolved recipe, provenance, scores, checkpoints and TensorBoard curves.
            Existing run folders are never overwritten.

            With --seeds, --sweep, or a recipe that has a section `sweep`, there are several jobs.
            All are resolved before the first one starts; one that fails does not stop the others.
            Of a job that has a run with the same settings, data and code, only what is left is
            done, so that the same command goes on where it was interrupted: a finished run is
            skipped, an unfinished one is resumed from its newest checkpoint, and one that another
            command trains is left to it (exit code 75, if nothing fails).

            With --resume that holds for a single run, too, and a run whose settings, data or code
            have changed is refused, instead of beginning another. So a cluster can be given the
            same command again and again.
        """,
        examples="""
            hieraseg run recipes/quickstart.yaml
            hieraseg run recipes/quickstart.yaml --training.epochs 3 --optimizer.lr 1e-3
            hieraseg run quickstart --plugin my_loss.py --loss my_loss
            hieraseg run quickstart --seeds 0 1 2
            hieraseg run quickstart --seeds 0 1 2 --sweep loss.gamma=0,1,2 --dry-run
            hieraseg run quickstart --sweep loss=tree_min,weighted_ce --sweep optimizer.lr=1e-3,1e-4
            hieraseg run quickstart --zip --sweep input.size=[64,64],[96,96] --sweep data.seed=0,1
            hieraseg run study_quickstart --rows flat tree_min --jobs 2
            hieraseg run quickstart --resume
            hieraseg run runs/quickstart/base-seed0 --verify
        """,
        takes_overrides=True,
    )
    add_recipe(parser)
    _add_jobs(parser)
    add_out(parser, "run folders", default="runs")
    add_plugins(parser)
    add_json(parser)


def _add_jobs(parser: Any) -> None:
    """Add the options that say which jobs there are, and how they are done."""
    parser.add_argument(
        "--seeds",
        metavar="SEED",
        type=non_negative_int,
        nargs="+",
        help="train once per seed (default: those of the sweep, or training.seed)",
    )
    parser.add_argument(
        "--sweep",
        metavar="KEY=VALUE,VALUE",
        dest="sweeps",
        action="append",
        default=[],
        help="train once per value of a key, or name of a component; can be repeated, for all "
        "combinations",
    )
    parser.add_argument(
        "--zip", action="store_true", help="pair the values of several --sweep, not combine them"
    )
    parser.add_argument(
        "--rows", metavar="ROW", nargs="+", help="rows of the recipe's sweep (default: all)"
    )
    _add_earlier(parser)
    parser.add_argument(
        "--jobs",
        metavar="N",
        dest="workers",
        type=positive_int,
        default=1,
        help="jobs at a time; each has one GPU, in turn, or a share of the cores (default: 1)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the jobs, their steps and images, and stop"
    )
    add_options(parser)
    # That of a job which is done elsewhere.
    parser.add_argument("--run-name", help=SUPPRESS)


def _add_earlier(parser: Any) -> None:
    """Add the options that say what earlier runs are worth."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--again", action="store_true", help="do all of each job, whatever earlier runs there are"
    )
    choice.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run that is there, or print its scores if it is finished; refuse one "
        "whose settings, data or code have changed",
    )
    choice.add_argument(
        "--verify",
        action="store_true",
        help="repeat the run whose folder RECIPE is, and print what differs (exit code 5 if the "
        "results do)",
    )


def run(arguments: Namespace) -> int:
    """Do all jobs, and print the scores and the folder of each run; or repeat a run."""
    if arguments.verify:
        from hieraseg.cli.verify import verify

        return verify(arguments)
    return _run(arguments)


@explaining_interrupts("go on with the same command and --resume")
def _run(arguments: Namespace) -> int:
    from hieraseg.sweeps.planning import plan

    planned = plan(_request(arguments))
    report = Report(planned, arguments)
    do = _way(arguments, planned)
    earlier = _earlier(planned, arguments)
    if arguments.dry_run:
        report.print_dry_run(earlier)
        return 0
    if arguments.launcher or _speaks(planned.jobs):
        report.log_earlier(earlier)
    outcomes = {
        title: done for title, one in earlier.items() if (done := one.outcome(title)) is not None
    }
    todo = [
        replace(job, earlier=earlier[job.title].run if job.title in earlier else None)
        for job in planned.jobs
        if job.title not in outcomes
    ]
    if not todo and not launch.is_first_of(_processes(planned.jobs)):
        return _exit_code(outcomes.values())
    if not planned.is_sweep:
        for outcome in outcomes.values():
            report.add(outcome)
    try:
        for outcome in do(todo):
            outcomes[outcome.title] = outcome
            report.add(outcome)
            if outcome.exit_code and not _can_go_on(arguments, planned.jobs, outcome):
                break
    except Finished:  # the processes that this one started have done all jobs
        raise
    except BaseException:
        report.print_outcomes(outcomes)
        raise
    report.print_outcomes(outcomes)
    return _exit_code(outcomes.values())


def _exit_code(outcomes: Iterable["Outcome"]) -> int:
    """That of the first failure, else of a job that runs elsewhere, else 0."""
    every = sorted(outcomes, key=lambda one: one.state == "runs elsewhere")
    return next((one.exit_code for one in every if one.exit_code), 0)


def _request(arguments: Namespace) -> "Request":
    from hieraseg.sweeps.planning import Request

    return Request(
        recipe=arguments.recipe,
        overrides=arguments.overrides,
        plugins=arguments.plugins,
        seeds=arguments.seeds,
        sweeps=arguments.sweeps,
        zipped=arguments.zip,
        rows=arguments.rows,
        name=arguments.run_name,
        out=Path(arguments.out),
    )


def _way(arguments: Namespace, planned: "Plan") -> _Do:
    """How jobs are done.

    Raises:
        RecipeError: they cannot be done in this way.
    """
    from hieraseg.sweeps.earlier import EarlierRuns
    from hieraseg.sweeps.running import run_jobs
    from hieraseg.sweeps.workers import check_devices, run_in_workers

    jobs = planned.jobs
    launcher = from_arguments(arguments)
    if launcher is not None:
        if arguments.workers > 1:
            raise RecipeError(
                "command line: --jobs: the launcher decides how many jobs run at a time; leave it "
                "out, or leave --launcher out"
            )
        return launcher
    alone = _processes(jobs) == 1
    # Several processes have to agree, so they look only once, before the first of them begins.
    looks_again = alone and _uses_earlier(planned, arguments)
    earlier_runs = EarlierRuns(arguments.resume) if looks_again else None
    one = partial(run_job, keeps_going=len(jobs) > 1 and alone, earlier_runs=earlier_runs)
    if arguments.workers == 1:
        return partial(run_jobs, run_job=one, quiet=len(jobs) == 1 or not alone)
    check_devices(jobs)
    return lambda todo: progress(run_in_workers(todo, one, arguments.workers), "jobs", len(todo))


def _uses_earlier(planned: "Plan", arguments: Namespace) -> bool:
    return arguments.resume or (planned.is_sweep and not arguments.again)


def _earlier(planned: "Plan", arguments: Namespace) -> dict[str, "Earlier"]:
    """What earlier runs leave to be done of each job, by title.

    Raises:
        RecipeError: with `--resume`, a run cannot go on, or a single one still runs.
    """
    from hieraseg.runs.ending import still_runs
    from hieraseg.runs.folder import RunFolder
    from hieraseg.sweeps.earlier import EarlierRuns

    if not _uses_earlier(planned, arguments):
        return {}
    runs = EarlierRuns(arguments.resume)
    found = {job.title: runs.of(job) for job in planned.jobs}
    for one in found.values():
        if one.todo == "running" and one.run is not None and not planned.is_sweep:
            raise still_runs(RunFolder(one.run))
    return found


def _processes(jobs: Sequence["Job"]) -> int:
    """Number of processes that train one model, of which all jobs have the same."""
    return max(job.recipe.training.devices * job.recipe.training.num_nodes for job in jobs)


def _can_go_on(arguments: Namespace, jobs: Sequence["Job"], outcome: "Outcome") -> bool:
    """Whether other jobs can be done after one that failed."""
    # Several processes do not outlive a failure of one of them, but they diverge together. What
    # does the jobs raises an interrupt itself, after its outcome.
    is_clean = outcome.exit_code in (DivergedError.exit_code, INTERRUPTED, Stopped.exit_code)
    return arguments.launcher or is_clean or _processes(jobs) == 1


def _speaks(jobs: Sequence["Job"]) -> bool:
    """Whether this process, unlike one that starts others or is started by them, logs plans."""
    return _processes(jobs) == 1 or (launch.is_started() and launch.is_main_process())
