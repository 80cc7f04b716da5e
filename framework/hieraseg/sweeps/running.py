"""Doing jobs one after the other, in this process."""

from collections.abc import Iterator, Sequence

from hieraseg.console import log
from hieraseg.errors import interrupt_code
from hieraseg.sweeps.jobs import Job
from hieraseg.sweeps.outcomes import Outcome, RunJob


def run_jobs(jobs: Sequence[Job], run_job: RunJob, quiet: bool = False) -> Iterator[Outcome]:
    """Do jobs.

    Args:
        jobs: the jobs.
        run_job: does one.
        quiet: whether no line says which job begins.

    Yields:
        The outcome of each job, as soon as it is known.

    Raises:
        KeyboardInterrupt: the user interrupts; the outcome of that job comes first.
    """
    for number, job in enumerate(jobs, 1):
        if not quiet:
            log(announcement(number, len(jobs), job.title))
        try:
            outcome = run_job(job)
        except KeyboardInterrupt as error:
            yield Outcome(job.title, "failed", message=str(error), exit_code=interrupt_code(error))
            raise
        yield outcome


def announcement(number: int, total: int, title: str) -> str:
    """The line that says which job begins."""
    return f"job {number}/{total}: {title}"
