"""`hieraseg run`: train recipes."""

import shlex
from argparse import SUPPRESS, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg import launch
from hieraseg.cli.failures import Failure, print_failure
from hieraseg.cli.options import (
    add_command,
    add_json,
    add_out,
    add_plugins,
    add_recipe,
    non_negative_int,
    positive_int,
)
from hieraseg.cli.report import format_scores, print_result
from hieraseg.cli.run_job import run_job
from hieraseg.cli.streams import write_result
from hieraseg.cli.sweep_report import format_outcomes
from hieraseg.console import log, progress
from hieraseg.errors import INTERRUPTED, DivergedError, RecipeError, Stopped, first_few
from hieraseg.launch import Finished
from hieraseg.sweeps.launchers import add_options, from_arguments

if TYPE_CHECKING:  # imports recipes, which `hieraseg --help` does not wait for
    from hieraseg.sweeps.jobs import Job
    from hieraseg.sweeps.outcomes import Outcome, OutcomeState
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
            All are resolved before the first one starts; one that fails does not stop the others;
            and one that has a finished run with the same settings, data and code is skipped, so the
            same command goes on where it was interrupted.
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
    parser.add_argument(
        "--again", action="store_true", help="do not skip jobs that have a finished run"
    )
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


def run(arguments: Namespace) -> int:
    """Do all jobs, and print the scores and the folder of each run."""
    from hieraseg.sweeps.planning import plan

    planned = plan(_request(arguments))
    do = _way(arguments, planned.jobs)
    outcomes, reasons = _earlier(planned, arguments)
    if arguments.dry_run:
        return _print_jobs(planned.jobs, outcomes, reasons, arguments.json)
    if arguments.launcher or _speaks(planned.jobs):
        _say_earlier(outcomes, reasons)
    failed: list[Outcome] = []
    try:
        for outcome in do([job for job in planned.jobs if job.title not in outcomes]):
            outcomes[outcome.title] = outcome
            _report(outcome, planned.jobs, arguments)
            failed += [outcome] if outcome.exit_code else []
            if failed and not arguments.launcher and not _can_go_on(planned.jobs, outcome):
                break
    except Finished:  # the processes that this one started have done all jobs
        raise
    except BaseException:
        _print_outcomes(planned, outcomes, arguments)
        raise
    _print_outcomes(planned, outcomes, arguments)
    return failed[0].exit_code if failed else 0


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


def _way(arguments: Namespace, jobs: Sequence["Job"]) -> _Do:
    """How jobs are done.

    Raises:
        RecipeError: they cannot be done in this way.
    """
    from hieraseg.sweeps.running import run_jobs
    from hieraseg.sweeps.workers import check_devices, run_in_workers

    launcher = from_arguments(arguments)
    if launcher is not None:
        if arguments.workers > 1:
            raise RecipeError(
                "command line: --jobs: the launcher decides how many jobs run at a time; leave it "
                "out, or leave --launcher out"
            )
        return launcher
    alone = _processes(jobs) == 1
    one = partial(run_job, keeps_going=len(jobs) > 1 and alone)
    if arguments.workers == 1:
        return partial(run_jobs, run_job=one, quiet=len(jobs) == 1 or not alone)
    check_devices(jobs)
    return lambda todo: progress(run_in_workers(todo, one, arguments.workers), "jobs", len(todo))


def _earlier(planned: "Plan", arguments: Namespace) -> tuple[dict[str, "Outcome"], dict[str, str]]:
    """Jobs of a sweep that are skipped, by title; and why earlier runs of others do not count."""
    from hieraseg.sweeps.finished import EarlierRuns
    from hieraseg.sweeps.outcomes import Outcome

    skipped: dict[str, Outcome] = {}
    reasons: dict[str, str] = {}
    if arguments.again or not planned.is_sweep:
        return skipped, reasons
    runs = EarlierRuns()
    for job in planned.jobs:
        finished, reason = runs.of(job)
        if finished is not None:
            result = {"splits": {"val": finished.scores}, "cost": finished.cost}
            skipped[job.title] = Outcome(job.title, "skipped", finished.path, result=result)
        elif reason:
            reasons[job.title] = reason
    return skipped, reasons


def _say_earlier(skipped: Mapping[str, "Outcome"], reasons: Mapping[str, str]) -> None:
    for outcome in skipped.values():
        log(f"skipped: {outcome.folder} is finished")
    for title, reason in reasons.items():
        log(f"run anew: {title}, since {reason}")
    if skipped:
        log(f"{len(skipped)} finished jobs are skipped; --again runs them again")


def _print_jobs(
    jobs: Sequence["Job"],
    skipped: Mapping[str, "Outcome"],
    reasons: Mapping[str, str],
    as_json: bool,
) -> int:
    """Print what a dry run knows."""
    from hieraseg.cli.sweep_report import format_planned, planned_as_json
    from hieraseg.sweeps.dry_run import dry_run

    planned = dry_run(jobs, {title: one.folder for title, one in skipped.items()}, reasons)
    print_result(as_json, planned_as_json(planned), format_planned(planned))
    return 0


def _report(outcome: "Outcome", jobs: Sequence["Job"], arguments: Namespace) -> None:
    """Say at once that a job has failed; print the scores of each class, unless jobs are many."""
    is_here = arguments.workers == 1 and not arguments.launcher
    interrupts_command = outcome.exit_code in (INTERRUPTED, Stopped.exit_code) and is_here
    if outcome.exit_code and not interrupts_command:
        message = outcome.message
        if len(jobs) > 1:
            message = f"{outcome.title}: {message} (exit code {outcome.exit_code})"
        print_failure(Failure(message, outcome.exit_code))
    is_lost = outcome.folder is None  # unless they are printed
    if outcome.result and not arguments.json and (is_lost or not _differ_in_settings(jobs)):
        title = f"{outcome.folder}, val" if outcome.folder else "val"
        write_result(format_scores(outcome.result["splits"]["val"], title))


def _print_outcomes(
    planned: "Plan", outcomes: Mapping[str, "Outcome"], arguments: Namespace
) -> None:
    """Print what became of all jobs, and where their runs are; in the main process."""
    from hieraseg.sweeps.outcomes import Outcome

    if not launch.is_main_process():
        return
    jobs = planned.jobs
    state: OutcomeState = "not waited for" if arguments.launcher else "not run"
    missing = [job.title for job in jobs if job.title not in outcomes]
    if missing and len(jobs) > 1:
        log(f"hieraseg: {state}: {first_few(missing, 'jobs')}")
    every = [outcomes.get(job.title, Outcome(job.title, state)) for job in jobs]
    folders = [str(one.folder) for one in every if one.folder]
    tables = [format_outcomes(every)] if len(jobs) > 1 else []
    if arguments.json:
        results = [_as_json(one, planned.is_sweep) for one in every if one.result]
        for table in tables:
            log(table)
        if results:
            print_result(True, results, "")
    elif tables or folders:
        write_result("\n".join(tables if _differ_in_settings(jobs) else [*tables, *folders]))
    if folders and _differ_in_settings(jobs):
        runs = [] if str(arguments.out) == "runs" else ["--runs", str(arguments.out)]
        command = shlex.join(["hieraseg", "compare", str(arguments.recipe), *runs])
        log(f"runs are in {arguments.out}; compare: {command}")
    else:
        _log_figures(every)


def _as_json(outcome: "Outcome", is_of_sweep: bool) -> dict[str, Any]:
    job = {"job": outcome.title, "state": outcome.state} if is_of_sweep else {}
    return {"run": str(outcome.folder) if outcome.folder else None, **job, **outcome.result}


def _log_figures(outcomes: Iterable["Outcome"]) -> None:
    """Say where there is something to look at."""
    folders = [one.folder / "figures" for one in outcomes if one.folder and one.state == "finished"]
    for folder in filter(Path.is_dir, folders):  # a run that cannot draw is finished nevertheless
        log(f"curves and figures are in {folder}")


def _differ_in_settings(jobs: Sequence["Job"]) -> bool:
    """Whether jobs differ, in more than their seeds."""
    return len({job.name for job in jobs}) > 1


def _processes(jobs: Sequence["Job"]) -> int:
    """Number of processes that train one model, of which all jobs have the same."""
    return max(job.recipe.training.devices * job.recipe.training.num_nodes for job in jobs)


def _can_go_on(jobs: Sequence["Job"], outcome: "Outcome") -> bool:
    # Several processes do not outlive a failure of one of them, but they diverge together. What
    # does the jobs raises an interrupt itself, after its outcome.
    is_clean = outcome.exit_code in (0, DivergedError.exit_code, INTERRUPTED)
    return is_clean or _processes(jobs) == 1


def _speaks(jobs: Sequence["Job"]) -> bool:
    """Whether this process, unlike one that starts others or is started by them, logs plans."""
    return _processes(jobs) == 1 or (launch.is_started() and launch.is_main_process())
