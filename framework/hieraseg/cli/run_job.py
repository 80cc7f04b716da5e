"""Do one job of `hieraseg run`, in this process or a worker."""

import sys
import time
import traceback
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg.cli.failures import Failure, failure_of
from hieraseg.errors import UnwrittenScoresError
from hieraseg.importing import importing
from hieraseg.launch import Finished, is_main_process

if TYPE_CHECKING:  # imports recipes, which `hieraseg --help` does not wait for
    from hieraseg.runs.folder import RunFolder
    from hieraseg.sweeps.earlier import EarlierRuns
    from hieraseg.sweeps.jobs import Job
    from hieraseg.sweeps.outcomes import Outcome


def run_job(
    job: "Job", keeps_going: bool = False, earlier_runs: "EarlierRuns | None" = None
) -> "Outcome":
    """Train and score, or only what an earlier run has left of that.

    Args:
        job: the job.
        keeps_going: whether other jobs follow, for which a fault of the code is a failure like any
            other, below its traceback.
        earlier_runs: finds out what another command has meanwhile done of it; None to do all.

    Returns:
        The outcome; without a folder in all processes but the main one.

    Raises:
        Finished: this process only started those that train, which have ended.
        KeyboardInterrupt: the user interrupts; the message says what is kept, if anything is.
    """
    with importing():
        from hieraseg.sweeps.earlier import Earlier
        from hieraseg.sweeps.outcomes import Outcome
        from hieraseg.training.allocator import forget_runs

    started = time.monotonic()
    path: Path | None = None
    result: dict[str, Any] = {}
    failure = Failure("", 0)
    try:
        as_planned = nullcontext(Earlier("new", job.earlier))
        with as_planned if earlier_runs is None else earlier_runs.claim(job) as earlier:
            done = earlier.outcome(job.title)
            if done is not None:
                return done
            folder = _train(replace(job, earlier=earlier.run))
        if folder is not None:
            path, result = folder.path, {**folder.read_result()}
    except (Finished, KeyboardInterrupt):
        raise
    except BaseException as error:
        failure = failure_of(error) or _fault(error, keeps_going)
        if isinstance(error, UnwrittenScoresError):
            result = {"splits": {"val": error.scores}, "cost": {}}
    if keeps_going:
        forget_runs()
    return Outcome(
        title=job.title,
        state="failed" if failure.exit_code else "finished",
        folder=path,
        message=failure.message,
        exit_code=failure.exit_code,
        seconds=time.monotonic() - started,
        result=result,
    )


def _train(job: "Job") -> "RunFolder | None":
    """The folder of the run, None in all processes but the main one."""
    from hieraseg.runs.empty import clear
    from hieraseg.runs.folder import RunFolder
    from hieraseg.runs.saved import saved_step
    from hieraseg.train import resume, train

    if job.earlier is not None:
        earlier = RunFolder(job.earlier)
        if saved_step(earlier) is not None:
            return resume(earlier, job.recipe, sys.argv)
        if is_main_process():
            clear(earlier)
    return train(job.recipe, job.out, job.name)


def _fault(error: BaseException, keeps_going: bool) -> Failure:
    """The failure of a fault of the code, which ends the command unless it keeps going."""
    if not keeps_going:
        raise error
    traceback.print_exception(error)
    return Failure(f"{type(error).__name__}: {error}; see the traceback above", 1)
