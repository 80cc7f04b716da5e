"""Do one job of `hieraseg run`, in this process or a worker."""

import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg.cli.failures import Failure, failure_of
from hieraseg.errors import UnwrittenScoresError
from hieraseg.importing import importing
from hieraseg.launch import Finished

if TYPE_CHECKING:  # imports recipes, which `hieraseg --help` does not wait for
    from hieraseg.sweeps.jobs import Job
    from hieraseg.sweeps.outcomes import Outcome


def run_job(job: "Job", keeps_going: bool = False) -> "Outcome":
    """Train and score.

    Args:
        job: the job.
        keeps_going: whether other jobs follow, for which a fault of the code is a failure like any
            other, below its traceback.

    Returns:
        The outcome; without a folder in all processes but the main one.

    Raises:
        Finished: this process only started those that train, which have ended.
        KeyboardInterrupt: the user interrupts; the message says what is kept.
    """
    with importing():
        from hieraseg.sweeps.outcomes import Outcome
        from hieraseg.train import train
        from hieraseg.training.allocator import forget_runs

    started = time.monotonic()
    path: Path | None = None
    result: dict[str, Any] = {}
    failure = Failure("", 0)
    try:
        folder = train(job.recipe, job.out, job.name)
        if folder is not None:
            path, result = folder.path, {**folder.read_result()}
    except Finished:
        raise
    except KeyboardInterrupt as error:
        before = "interrupted while the run was set up, before it had a folder"
        raise type(error)(str(error) or before) from error
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


def _fault(error: BaseException, keeps_going: bool) -> Failure:
    """The failure of a fault of the code, which ends the command unless it keeps going."""
    if not keeps_going:
        raise error
    traceback.print_exception(error)
    return Failure(f"{type(error).__name__}: {error}; see the traceback above", 1)
