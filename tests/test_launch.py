"""The processes that a command starts: how they end, who reports the error, and the exit code."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

FRAMEWORK = Path(__file__).parents[1] / "framework"
COMMAND = """
import os, signal, sys, time
from hieraseg import launch

if not launch.is_started():
    if "IGNORE" in os.environ:  # as shells make jobs in the background do
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        launch.start(2)
    except launch.Finished as finished:
        sys.exit(finished.code)
launch.watch_starter()
rank = int(os.environ["RANK"])

def fail(code, explained=True):
    launch.fail(explained)
    print(f"{launch.error_prefix()}says it", file=sys.stderr, flush=True)
    sys.exit(code)

"""


def start(tmp_path: Path, work: str, **variables: str) -> "subprocess.Popen[str]":
    """Start a command with two processes that do some work."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND + textwrap.dedent(work))
    return subprocess.Popen(
        [sys.executable, script],
        # Buffered: unbuffered lines of both processes are written in parts, which mix.
        env={**os.environ, "PYTHONPATH": str(FRAMEWORK), "PYTHONUNBUFFERED": "", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(command: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, err = command.communicate(timeout=60)
    return command.returncode, out, err


def test_all_processes_run_the_same_command(tmp_path: Path) -> None:
    work = 'print(rank, os.environ["LOCAL_RANK"], os.environ["WORLD_SIZE"], launch.error_prefix())'
    code, out, err = outcome(start(tmp_path, work, LOCAL_RANK="7", RANK="7", WORLD_SIZE="9"))
    assert code == 0, err
    assert sorted(out.splitlines()) == ["0 0 2 ", "1 1 2 None"]


@pytest.mark.parametrize(
    ("work", "code", "message"),
    [
        # The other one waits for it, or is the first to see the consequences.
        ("fail(3) if rank == 1 else time.sleep(60)", 3, "process 1: says it\n"),
        ("fail(4) if rank == 0 else time.sleep(60)", 4, "says it\n"),
        ("fail(3) if rank == 1 else fail(1, explained=False)", 3, "process 1: says it\n"),
        ("fail(3)", 3, "says it\n"),
        (
            "fail(1, explained=False) if rank == 0 else os.kill(os.getpid(), signal.SIGKILL)",
            137,
            "hieraseg: error: process 1 was killed by SIGKILL; the others were ended\n",
        ),
        (
            "fail(1, explained=False) if rank == 1 else os.kill(os.getpid(), signal.SIGSEGV)",
            139,
            "hieraseg: error: process 0 was killed by SIGSEGV; the others were ended\n",
        ),
        # The first process takes SIGTERM as an interrupt, as the command line does.
        (
            """
            if rank == 1:
                time.sleep(1)
                fail(3)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                if launch.error_prefix() is not None:
                    print("interrupted", file=sys.stderr)
            """,
            3,
            "process 1: says it\n",
        ),
        # They say it alike, and the first process alone prints it.
        ("sys.exit(4)", 4, ""),
        # Code that runs when Python exits has no say.
        ("import atexit; atexit.register(os.abort); launch.leave(4)", 4, ""),
    ],
)
def test_the_first_process_that_fails_reports_it(
    tmp_path: Path, work: str, code: int, message: str
) -> None:
    assert outcome(start(tmp_path, work)) == (code, "", message)


@pytest.mark.parametrize(
    ("number", "variables"),
    [(signal.SIGINT, {}), (signal.SIGTERM, {}), (signal.SIGTERM, {"IGNORE": "SIGINT"})],
)
def test_an_interrupt_is_passed_on_once(
    tmp_path: Path, number: int, variables: dict[str, str]
) -> None:
    work = """
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            print(os.getpid(), flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            fail(130)
    """
    command = start(tmp_path, work, **variables)
    assert command.stdout is not None
    processes = [int(command.stdout.readline()) for _ in range(2)]
    command.send_signal(number)
    assert outcome(command) == (130, "", "says it\n")
    assert not any(is_running(process) for process in processes)


def test_another_interrupt_ends_processes_that_finish_something(tmp_path: Path) -> None:
    work = """
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            print("works", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            try:
                print("finishes", flush=True)
                time.sleep(60)
            except KeyboardInterrupt:
                fail(130)
    """
    command = start(tmp_path, work)
    assert command.stdout is not None
    for said in ("works\n", "finishes\n"):
        assert [command.stdout.readline() for _ in range(2)] == [said, said]
        command.send_signal(signal.SIGINT)
    assert outcome(command) == (130, "", "says it\n")


def test_the_processes_end_with_the_command(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    work = "print(os.getpid(), flush=True); time.sleep(60)"
    command = start(tmp_path, work, TMPDIR=str(temporary))
    assert command.stdout is not None
    processes = [int(command.stdout.readline()) for _ in range(2)]
    command.kill()
    _, _, err = outcome(command)
    assert err == "hieraseg: error: the command of this run was killed\n"
    deadline = time.monotonic() + 30
    while any(is_running(process) for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not list(temporary.iterdir())


def is_running(process: int) -> bool:
    """Whether a process exists, other than as a zombie that nobody waits for."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
    return "State:\tZ" not in status


def test_what_a_process_starts_is_no_part_of_the_run(tmp_path: Path) -> None:
    work = """
        import subprocess
        code = "from hieraseg import launch; print(launch.is_started(), [launch.error_prefix()])"
        subprocess.run([sys.executable, "-c", code])
    """
    code, out, err = outcome(start(tmp_path, work))
    assert (code, out) == (0, "False ['']\n" * 2), err
