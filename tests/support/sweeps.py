"""Jobs whose work takes no time, for tests of what runs them."""

import os
import signal
import time
from pathlib import Path

from hieraseg.console import log
from hieraseg.sweeps.jobs import Job
from hieraseg.sweeps.outcomes import Outcome
from hieraseg.sweeps.planning import Request, plan
from hieraseg.training.stopping import Stopping
from tests.support.runs import QUICKSTART


def jobs_of_seeds(*seeds: int, out: Path = Path("nowhere")) -> list[Job]:
    return plan(Request(QUICKSTART, seeds=seeds, out=out)).jobs


def work(job: Job) -> Outcome:
    """Log a line; then fail with seed 1, be killed with seed 2, and finish with any other."""
    import torch

    seed = job.recipe.training.seed
    log(f"works on seed {seed} with {torch.get_num_threads()} thread(s)")
    if seed == 1:
        return Outcome(job.title, "failed", message="x.jpg: is damaged", exit_code=3)
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(job.title, "finished", result={"process": os.getpid()})


def wait(job: Job) -> Outcome:
    """Wait for a signal, as a run does between two steps."""
    _wait_for_signal()
    raise AssertionError


def ask_to_end(job: Job) -> Outcome:
    """Be asked to end with seed 0; finish with any other."""
    if job.recipe.training.seed == 0:
        _wait_for_signal(send=signal.SIGTERM)
    return Outcome(job.title, "finished")


def save_at_end(job: Job) -> Outcome:
    """Finish with seed 0 when the other job waits for a signal, after which that writes a file."""
    waits, saved = job.out / "waits", job.out / "saved"
    if job.recipe.training.seed == 0:
        while not waits.exists():
            time.sleep(0.01)
        return Outcome(job.title, "finished")
    with Stopping() as stopping:
        waits.touch()
        try:
            while True:
                time.sleep(0.01)
                stopping.check()
        except KeyboardInterrupt:
            saved.touch()
            raise


def _wait_for_signal(send: int | None = None) -> None:
    """Wait for a signal, as a run does between two steps, and save, as it does."""
    with Stopping() as stopping:
        log("waits")
        if send is not None:
            os.kill(os.getpid(), send)
        try:
            while True:
                time.sleep(0.01)
                stopping.check()
        except KeyboardInterrupt as error:
            raise type(error)("saved") from error
