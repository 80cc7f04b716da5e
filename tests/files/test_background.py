"""Jobs in a thread: one at a time, in order, and no error is lost."""

import subprocess
import sys
import threading
import time

import pytest

from hieraseg.errors import WriteError
from hieraseg.files.background import Background


def fail() -> None:
    raise WriteError("x: cannot be written")


def test_the_caller_goes_on_while_a_job_runs() -> None:
    background, released, done = Background(), threading.Event(), threading.Event()

    def job() -> None:
        assert released.wait(30)
        done.set()

    background.start(job)
    assert background.is_busy()
    background.check()
    assert not done.is_set()
    released.set()
    background.wait()
    assert done.is_set()
    assert not background.is_busy()


def test_jobs_run_in_order_and_never_two_at_once() -> None:
    """So that memory holds what one job needs."""
    background, events = Background(), list[str]()
    for name in "abc":

        def job(name: str = name) -> None:
            events.append(f"{name} starts")
            time.sleep(0.01)
            events.append(f"{name} ends")

        background.start(job)
    background.wait()
    assert events == [f"{name} {what}" for name in "abc" for what in ("starts", "ends")]


def test_an_error_is_raised_once_in_the_caller() -> None:
    background, ran = Background(), list[str]()
    background.start(fail)
    with pytest.raises(WriteError, match="x: cannot be written"):
        background.wait()
    background.wait()
    background.start(fail)
    with pytest.raises(WriteError, match="x: cannot be written"):
        background.start(lambda: ran.append("next"))
    assert not ran, "what follows a failure is not written"
    background.start(fail)
    while background.is_busy():
        time.sleep(0.001)
    with pytest.raises(WriteError, match="x: cannot be written"):
        background.check()
    background.check()


def test_without_a_job_there_is_nothing_to_wait_for() -> None:
    background = Background()
    background.wait()
    background.check()
    assert not background.is_busy()


ABANDONS = """
import sys, threading
from hieraseg.files.background import Background

background = Background()
background.start(lambda: threading.Event().wait({seconds}))
if {abandons}:
    background.abandon({code})
else:
    background.wait()
print("interrupted")
sys.exit({code})
"""


@pytest.mark.parametrize(
    ("seconds", "abandons", "code", "expected"),
    [(60, True, 130, 130), (60, True, 75, 75), (0.01, False, 2, 2), (0.01, False, 0, 0)],
)
def test_a_process_does_not_wait_for_an_abandoned_job(
    seconds: float, abandons: bool, code: int, expected: int
) -> None:
    script = ABANDONS.format(seconds=seconds, abandons=abandons, code=code)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (expected, "interrupted\n", "")
