"""Jobs whose work takes no time, for tests of what runs them."""

import os
import signal
from pathlib import Path

from hieraseg.console import log
from hieraseg.sweeps.jobs import Job
from hieraseg.sweeps.outcomes import Outcome
from hieraseg.sweeps.planning import Request, plan
from tests.support.runs import QUICKSTART


def jobs_of_seeds(*seeds: int) -> list[Job]:
    return plan(Request(QUICKSTART, seeds=seeds, out=Path("nowhere"))).jobs


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
    """Wait for an interrupt."""
    log("waits")
    signal.pause()
    raise AssertionError
