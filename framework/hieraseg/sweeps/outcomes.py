"""Outcomes of jobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hieraseg.sweeps.jobs import Job

OutcomeState = Literal[
    "finished", "skipped", "runs elsewhere", "failed", "not run", "not waited for"
]


@dataclass(frozen=True)
class Outcome:
    """What became of a job. It can be pickled, unlike the job.

    Attributes:
        title: title of the job.
        state: `skipped` if there was a finished run of it before; `runs elsewhere` if another
            process does it; `not waited for` if the user has interrupted a launcher, whose jobs may
            go on.
        folder: the run folder, if it is known.
        message: why it failed; one sentence.
        exit_code: exit code of the failure, or that of a command that is to be repeated if it runs
            elsewhere; else 0.
        seconds: duration.
        result: content of `result.json`; empty without one.
    """

    title: str
    state: OutcomeState
    folder: Path | None = None
    message: str = ""
    exit_code: int = 0
    seconds: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)


RunJob = Callable[[Job], Outcome]
"""Does a job in this process; a failure is an outcome, only interrupts are raised."""
