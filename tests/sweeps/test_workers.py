"""Several jobs at a time, in worker processes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from hieraseg import signals
from hieraseg.errors import RecipeError, Stopped
from hieraseg.sweeps.jobs import Job
from hieraseg.sweeps.outcomes import Outcome
from hieraseg.sweeps.planning import Request, plan
from hieraseg.sweeps.workers import _Worker, check_devices, run_in_workers
from hieraseg.sweeps.working import shares
from tests.support.runs import QUICKSTART
from tests.support.sweeps import ask_to_end, jobs_of_seeds, save_at_end, wait, work

Captured = pytest.CaptureFixture[str]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


def test_jobs_are_done_by_processes_that_outlive_failures(capsys: Captured) -> None:
    """One that is killed is replaced; the lines of all have their jobs' titles."""
    jobs = jobs_of_seeds(0, 1, 2, 3)
    outcomes = {one.title: one for one in run_in_workers(jobs, work, workers=1)}
    states = [(outcomes[job.title].state, outcomes[job.title].exit_code) for job in jobs]
    assert states == [("finished", 0), ("failed", 3), ("failed", 137), ("finished", 0)]
    assert outcomes[jobs[2].title].message == "its worker process was killed by SIGKILL"
    first, last = (outcomes[jobs[index].title].result["process"] for index in (0, 3))
    assert len({os.getpid(), first, last}) == 3
    err = capsys.readouterr().err
    assert f"job 4/4: {jobs[3].title}\n" in err
    assert f"[{jobs[3].title}] works on seed 3 with " in err


def test_no_jobs_need_no_workers() -> None:
    """All are finished, when the same command is given again."""
    assert list(run_in_workers([], work, workers=2)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Stopped)]
)
def test_an_interrupt_ends_the_jobs_that_are_being_done(
    number: int, raised: type[KeyboardInterrupt], capsys: Captured
) -> None:
    """Each as the signal would; the others are not begun, and no process is left."""
    before = set(threading.enumerate())
    outcomes: list[Outcome] = []

    def interrupt() -> None:
        said = ""
        while said.count("] waits") < 2:
            time.sleep(0.1)
            said += capsys.readouterr().err
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with signals.handled_by(signals.interrupt), pytest.raises(KeyboardInterrupt) as error:
        outcomes.extend(run_in_workers(jobs_of_seeds(0, 1, 2), wait, workers=2))
    thread.join()
    assert error.type is raised
    assert set(threading.enumerate()) == before
    assert [one.exit_code for one in outcomes] == [75 if raised is Stopped else 130] * 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_a_worker_starts(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job is not run, rather than done to its end or called failed."""
    outcomes: list[Outcome] = []
    take = _Worker.take

    def take_and_interrupt(worker: _Worker, job: Job) -> None:
        take(worker, job)
        signal.raise_signal(number)

    monkeypatch.setattr(_Worker, "take", take_and_interrupt)
    with signals.handled_by(signals.interrupt), pytest.raises(KeyboardInterrupt):
        outcomes.extend(run_in_workers(jobs_of_seeds(0, 3), work, workers=1))
    assert outcomes == []


@pytest.mark.slow
def test_an_interrupt_while_an_outcome_is_printed(tmp_path: Path) -> None:
    """The other job saves its state, although nobody takes its outcome any more."""
    outcomes = run_in_workers(jobs_of_seeds(0, 1, out=tmp_path), save_at_end, workers=2)
    assert next(outcomes).exit_code == 0
    assert isinstance(outcomes, Generator)
    outcomes.close()
    assert (tmp_path / "saved").exists()


def test_a_worker_that_is_asked_to_end_saves_its_run(capsys: Captured) -> None:
    """As when the system asks all processes of a job at once; the other jobs are done."""
    outcomes = {one.title: one for one in run_in_workers(jobs_of_seeds(0, 1), ask_to_end, 1)}
    assert [one.exit_code for one in outcomes.values()] == [75, 0]
    assert [one.message for one in outcomes.values()] == ["saved", ""]


def test_shares_of_a_machine_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs in turn, and only those that the command itself may use."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [share.gpu for share in shares(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-1a")
    assert [share.gpu for share in shares(3)] == ["5", "GPU-1a", "5"]


def test_shares_of_a_machine_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.get_num_threads", lambda: 6)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert {share.gpu for share in shares(2)} == {None}
    assert [share.threads for share in shares(1)] == [6]
    assert [share.threads for share in shares(3)] == [2] * 3
    assert [share.threads for share in shares(16)] == [1] * 16


def test_jobs_with_several_devices_are_refused() -> None:
    planned = plan(Request(QUICKSTART, [("training.devices", "2")]))
    with pytest.raises(RecipeError, match="trains on 2 devices itself; leave out --jobs"):
        check_devices(planned.jobs)
