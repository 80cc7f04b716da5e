"""The jobs of a command as text: what there is to do, and what became of it."""

import shlex
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg import launch
from hieraseg.cli.failures import Failure, print_failure
from hieraseg.cli.layout import format_table
from hieraseg.cli.report import format_scores, print_result
from hieraseg.cli.streams import write_result
from hieraseg.console import log
from hieraseg.errors import INTERRUPTED, Stopped, first_few

if TYPE_CHECKING:
    from hieraseg.sweeps.dry_run import PlannedJob
    from hieraseg.sweeps.earlier import Earlier
    from hieraseg.sweeps.outcomes import Outcome, OutcomeState
    from hieraseg.sweeps.planning import Plan


class Report:
    """What `hieraseg run` prints.

    Args:
        planned: the jobs.
        arguments: those of the command.
    """

    def __init__(self, planned: "Plan", arguments: Namespace) -> None:
        self.jobs, self.is_sweep = planned.jobs, planned.is_sweep
        self.arguments = arguments

    def print_dry_run(self, earlier: Mapping[str, "Earlier"]) -> None:
        """Print what a dry run knows."""
        from hieraseg.sweeps.dry_run import dry_run

        planned = dry_run(self.jobs, earlier)
        print_result(self.arguments.json, planned_as_json(planned), format_planned(planned))

    def log_earlier(self, earlier: Mapping[str, "Earlier"]) -> None:
        """Say which jobs are not done, or not from the beginning, and why others are."""
        for title, one in earlier.items():
            if one.todo == "finished":
                log(f"skipped: {one.run} is finished {one.reason}".rstrip())
            elif one.todo == "running":
                log(f"skipped: {one.run} runs elsewhere")
            elif one.todo == "resume":
                log(f"resumed: {one.run}, after step {one.step}")
            elif one.reason:
                log(f"run anew: {title}, since {one.reason}")
        skipped = sum(one.todo == "finished" for one in earlier.values())
        if skipped and self.is_sweep:
            log(f"{skipped} finished jobs are skipped; --again runs them again")

    def add(self, outcome: "Outcome") -> None:
        """Say that a job has failed; print the scores of each class, unless jobs are many."""
        if outcome.state == "runs elsewhere":
            log(f"skipped: {outcome.folder} runs elsewhere")
            return
        is_here = self.arguments.workers == 1 and not self.arguments.launcher
        interrupts_command = outcome.exit_code in (INTERRUPTED, Stopped.exit_code) and is_here
        if outcome.exit_code and not interrupts_command:
            message = outcome.message
            if len(self.jobs) > 1:
                message = f"{outcome.title}: {message} (exit code {outcome.exit_code})"
            print_failure(Failure(message, outcome.exit_code))
        is_lost = outcome.folder is None  # unless they are printed
        if outcome.result and not self.arguments.json and (is_lost or not self._have_rows()):
            title = f"{outcome.folder}, val" if outcome.folder else "val"
            write_result(format_scores(outcome.result["splits"]["val"], title))

    def print_outcomes(self, outcomes: Mapping[str, "Outcome"]) -> None:
        """Print what became of all jobs, and where their runs are; in the main process."""
        from hieraseg.sweeps.outcomes import Outcome

        if not launch.is_main_process():
            return
        state: OutcomeState = "not waited for" if self.arguments.launcher else "not run"
        missing = [job.title for job in self.jobs if job.title not in outcomes]
        if missing and len(self.jobs) > 1:
            log(f"hieraseg: {state}: {first_few(missing, 'jobs')}")
        every = [outcomes.get(job.title, Outcome(job.title, state)) for job in self.jobs]
        tables = [format_outcomes(every)] if len(self.jobs) > 1 else []
        if self.arguments.json:
            self._print_json(every, tables)
        else:
            self._print_text(every, tables)
        if self._have_rows() and any(one.folder for one in every):
            self._log_comparison()
        else:
            _log_figures(every)

    def _print_json(self, outcomes: Sequence["Outcome"], tables: Sequence[str]) -> None:
        for table in tables:
            log(table)
        results = [_as_json(one, self.is_sweep) for one in outcomes if one.result]
        if results:
            print_result(True, results, "")

    def _print_text(self, outcomes: Sequence["Outcome"], tables: Sequence[str]) -> None:
        folders = [str(one.folder) for one in outcomes if one.folder]
        if tables or folders:
            write_result("\n".join(tables if self._have_rows() else [*tables, *folders]))

    def _log_comparison(self) -> None:
        out = self.arguments.out
        runs = [] if str(out) == "runs" else ["--runs", str(out)]
        command = shlex.join(["hieraseg", "compare", str(self.arguments.recipe), *runs])
        log(f"runs are in {out}; compare: {command}")

    def _have_rows(self) -> bool:
        """Whether jobs differ, in more than their seeds."""
        return len({job.name for job in self.jobs}) > 1


def _as_json(outcome: "Outcome", is_of_sweep: bool) -> dict[str, Any]:
    job = {"job": outcome.title, "state": outcome.state} if is_of_sweep else {}
    return {"run": str(outcome.folder) if outcome.folder else None, **job, **outcome.result}


def _log_figures(outcomes: Iterable["Outcome"]) -> None:
    """Say where there is something to look at."""
    folders = [one.folder / "figures" for one in outcomes if one.folder and one.state == "finished"]
    for folder in filter(Path.is_dir, folders):  # a run that cannot draw is finished nevertheless
        log(f"curves and figures are in {folder}")


def planned_as_json(jobs: Sequence["PlannedJob"]) -> dict[str, Any]:
    """The jobs of a dry run as JSON values."""
    return {
        "jobs": [
            {
                "job": one.job.title,
                "folder": str(one.earlier.run or one.job.folder()),
                "state": _STATES[one.earlier.todo],
                "step": one.earlier.step,
                "reason": one.earlier.reason,
                "seed": one.job.recipe.training.seed,
                "settings": dict(one.settings),
                "steps": one.steps,
                "images": one.images,
            }
            for one in jobs
        ],
        "steps": sum(one.steps for one in jobs),
        "images": sum(one.images for one in jobs),
    }


def format_planned(jobs: Sequence["PlannedJob"]) -> str:
    """The jobs of a dry run as a table, and their totals."""
    keys = list(dict.fromkeys(key for one in jobs for key in one.settings))
    rows = [
        [
            one.job.title,
            _planned_state(one.earlier),
            f"{one.steps:,}",
            f"{one.images:,}",
            *(one.settings.get(key, "-") for key in keys),
        ]
        for one in jobs
    ]
    todo = [one for one in jobs if one.earlier.is_left]
    table = format_table(["job", "state", "steps", "images", *keys], rows, optional=keys[::-1])
    anew = [one for one in jobs if one.earlier.todo == "new"]
    reasons = {one.job.title: one.earlier.reason for one in anew if one.earlier.reason}
    return "\n".join(
        [
            table,
            *(f"{title}: {reason}, so it is run again" for title, reason in reasons.items()),
            f"{len(todo)} of {len(jobs)} jobs to run in {jobs[0].job.out}: "
            f"{sum(one.steps for one in todo):,} steps, "
            f"{sum(one.images for one in todo):,} images",
        ]
    )


_STATES = {
    "new": "to run",
    "resume": "to resume",
    "finished": "skipped",
    "running": "runs elsewhere",
}


def _planned_state(earlier: "Earlier") -> str:
    state = _STATES[earlier.todo]
    return f"{state} after step {earlier.step}" if earlier.todo == "resume" else state


def format_outcomes(outcomes: Sequence["Outcome"]) -> str:
    """What became of each job, and its mIoU on `val`, as a table."""
    scores = {one.title: _scores(one) for one in outcomes}
    levels = max(map(len, scores.values()), default=0)
    rows = [
        [
            _job(one),
            f"{one.state} ({one.exit_code})" if one.state == "failed" else one.state,
            *(f"{score:.3f}" if score is not None else "-" for score in scores[one.title]),
            *["-"] * (levels - len(scores[one.title])),
            f"{one.seconds / 60:.1f}" if one.seconds else "-",
        ]
        for one in outcomes
    ]
    headings = [f"mIoU L{level}" for level in range(1, levels + 1)]
    return format_table(["job", "state", *headings, "minutes"], rows)


def _job(outcome: "Outcome") -> str:
    """The title of a job, which is the path of its run folder below that of all runs, or both."""
    folder = outcome.folder
    is_repetition = folder is not None and not folder.as_posix().endswith(outcome.title)
    return f"{outcome.title} ({folder.name})" if folder and is_repetition else outcome.title


def _scores(outcome: "Outcome") -> list[float | None]:
    """The mIoU of each level on `val`; none without scores."""
    scores = outcome.result.get("splits", {}).get("val", {"levels": []})
    return [level["miou"] for level in scores["levels"]]
