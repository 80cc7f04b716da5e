"""Starting the processes of a run on this node, and watching over them.

The command that a user types starts itself once more per device, and waits. So whatever happens to
one of these processes, something is left that can say so, and that ends the others, which would
wait for it forever.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hieraseg import signals
from hieraseg.errors import RecipeError

_STARTED_BY = "HIERASEG_STARTED_BY"  # id of the process that started this one
_FAILURE = "HIERASEG_FAILURE"  # file that the first process to fail makes
_GRACE = 15  # seconds that a process has to end by itself
_Processes = dict[int, "subprocess.Popen[bytes]"]  # by rank


class Finished(SystemExit):
    """The processes of this command have ended; `code` is the exit code of the command."""


# Taken away, so that programs which this process starts are no part of the run.
_started_by = os.environ.pop(_STARTED_BY, None)
_failure = os.environ.pop(_FAILURE, None)
_rank = 0 if _started_by is None else int(os.environ["RANK"])
_reports = _rank == 0
_has_joined = _started_by is not None
_exit_code: int | None = None  # of this process, once it is done
if _started_by is not None:
    signals.accept_ctrl_c()

results: int | None = None
"""File descriptor for the results of the processes; None for that of stdout."""


def is_started() -> bool:
    """Whether the same command in another process started this one."""
    return _started_by is not None


def is_main_process() -> bool:
    """Whether this is the first process of a run, or the only one."""
    return _rank == 0


def is_first_of(processes: int) -> bool:
    """Whether this is the first of so many processes, also before they join, or the only one."""
    rank = os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))
    return processes == 1 or rank == "0"


def join(rank: int) -> None:
    """Note that this is one of several processes. All but the first are silent until they fail."""
    global _rank, _reports, _has_joined
    _rank, _reports, _has_joined = rank, rank == 0, True


def error_prefix() -> str | None:
    """Start of error messages: the process, unless it is the first; None to print no error."""
    if not _reports or _another_reports():
        return None
    return f"process {_rank}: " if _rank else ""


def has_failed() -> bool:
    """Whether one of the processes that `start` of this node started is known to have failed."""
    return _failure is not None and os.path.exists(_failure)


def _another_reports() -> bool:
    """Whether this process is only ended because another one, or `start`, says what failed."""
    return has_failed() and Path(str(_failure)).read_text() != str(_rank)


def fail(explained: bool) -> None:
    """Let this process report its error if it is the first to fail, or else end it silently.

    Args:
        explained: whether the error says what is wrong. Any other may only be the consequence of
            the end of another process, which `start` sees within a second.
    """
    global _reports
    if _failure is not None:
        # If all processes have the same error, the first one reports it.
        time.sleep((0 if explained else 1) + (0 if _rank == 0 else 0.3))
        try:
            with Path(_failure).open("x") as file:
                file.write(str(_rank))
        except OSError:  # another was first, or the command has ended
            os._exit(1)
    _reports = True


def leave(exit_code: int) -> None:
    """Note that this process is done. If it is one of several, and has failed, end it at once.

    Where processes do not end as planned, what runs at Python's exit can wait for the others.
    """
    global _exit_code
    _exit_code = exit_code
    if exit_code:
        end()


def end() -> None:
    """End this process, if it is one of several that are done, without Python's own way out.

    A thread of gloo may be left where something refers to its group (see
    `processes.part_at_exit`), as a compiled step does. If it aborts, that would replace the exit
    code of the command.
    """
    if _has_joined and _exit_code is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_code)


def watch_starter(by_torchrun: bool = False) -> None:
    """From now on, end this process when the one that started it has ended.

    Args:
        by_torchrun: whether torchrun has started it, rather than the same command.
    """
    if os.name == "nt" or not (by_torchrun or is_started()):
        return
    started_by = os.getppid() if _started_by is None else int(_started_by)

    def watch() -> None:
        while os.getppid() == started_by:
            time.sleep(1)
        if _rank == 0:
            what = "torchrun" if by_torchrun else "the command of this run"
            print(f"hieraseg: error: {what} was killed", file=sys.stderr)
        else:
            time.sleep(3)  # else the first process would say that another one has ended
        if _failure is not None:
            shutil.rmtree(Path(_failure).parent, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def start(devices: int, num_nodes: int = 1) -> NoReturn:
    """Start this command once more per device of this node, and wait for these processes.

    Raises:
        Finished: they have ended.
        KeyboardInterrupt: so they have, after a signal, but the first one has not said so.
        RecipeError: there are several nodes, and the first one is not known.
    """
    with tempfile.TemporaryDirectory(prefix="hieraseg-") as folder:
        failure = Path(folder, "failure")
        variables = {
            **os.environ,
            **_meeting_point(num_nodes),
            "WORLD_SIZE": str(devices * num_nodes),
            _STARTED_BY: str(os.getpid()),
            _FAILURE: str(failure),
        }
        first = int(variables["NODE_RANK"]) * devices
        processes: _Processes = {}
        passing_on = _PassingOn(processes)
        try:
            with signals.handled_by(passing_on):
                for local_rank in range(devices):
                    rank = first + local_rank
                    own = {"RANK": str(rank), "LOCAL_RANK": str(local_rank)}
                    processes[rank] = _start(variables | own)
                if passing_on.received:  # before all of them had started
                    failure.touch()  # so that they are silent
                    signals.interrupt(passing_on.received[0])
                raise Finished(_wait(processes, failure, passing_on))
        finally:
            _end(processes)


class _PassingOn:
    """Handler of signals that passes them on to other processes.

    Args:
        processes: the others, of which there may be more later.

    Attributes:
        received: the signals that were passed on.
    """

    def __init__(self, processes: _Processes) -> None:
        self.received: list[int] = []
        self._processes = processes
        self._times: list[float] = []

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.received.append(number)
        self._times.append(time.monotonic())
        for process in list(self._processes.values()):
            process.send_signal(number)

    def is_over(self) -> bool:
        """Whether the processes had time to end after the user has become impatient."""
        if not self._times:
            return False
        first, last = self._times[0], self._times[-1]
        is_repeated = last - first >= signals.AT_ONCE  # not only sent to them and to the command
        return is_repeated and time.monotonic() - last >= _GRACE


def _start(variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start the command as it was typed, with the options of Python."""
    # In a session of its own, so that Ctrl-C reaches only the command, which passes it on.
    command = [sys.executable, *sys.orig_argv[1:]]
    return subprocess.Popen(command, env=variables, stdout=results, start_new_session=True)


def _meeting_point(num_nodes: int) -> dict[str, str]:
    """Variables that say where the first process of the run listens."""
    if num_nodes == 1:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    names = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise RecipeError(
            f"training.num_nodes is {num_nodes}, but {' and '.join(missing)} is not set; set "
            f"{', '.join(names)} on each node, or start the run with torchrun or srun"
        )
    return {}


def _wait(processes: _Processes, failure: Path, passing_on: _PassingOn) -> int:
    """Wait until all processes have ended well, or the first one has failed.

    Returns:
        Its exit code; 0 if none has failed.

    Raises:
        KeyboardInterrupt: a signal has ended them, of which they have said nothing.
    """
    while True:
        reporting = failure.read_text() if failure.exists() else ""
        codes = {rank: process.poll() for rank, process in processes.items()}
        failed = [rank for rank, code in codes.items() if code]
        if reporting:
            return _end_others(processes, int(reporting))
        if failed and passing_on.received:
            _have_ended(processes.values())
            return _interrupted(processes, passing_on.received[0])
        if passing_on.is_over():
            return _interrupted(processes, passing_on.received[0])
        if failed:
            return _explain(processes, failed[0], failure)
        if all(code == 0 for code in codes.values()):
            return 0
        time.sleep(0.1)


def _interrupted(processes: _Processes, number: int) -> int:
    """Exit code of the first process after a signal, if it has ended by itself, as it then says.

    Raises:
        KeyboardInterrupt: it has not.
    """
    rank = min(processes)
    code = processes[rank].returncode
    if code is None or code < 0:
        if code != -number:  # which ends a process in which Python has only begun to start
            how = f"is killed after {_GRACE} seconds" if code is None else how_ended(code)
            print(f"hieraseg: process {rank} {how}", file=sys.stderr)
        signals.interrupt(number)
    return code


def _end_others(processes: _Processes, rank: int) -> int:
    """Exit code of a process that says by itself why it failed; the others are ended first."""
    _end({other: process for other, process in processes.items() if other != rank})
    _end({rank: processes[rank]}, ask=False)
    return max(processes[rank].returncode, 1)


def _explain(processes: _Processes, rank: int, failure: Path) -> int:
    """Exit code of a process that failed; says how it ended, unless all ended alike."""
    code = processes[rank].returncode
    if code > 0 and _have_ended(processes.values()):
        return int(code)
    failure.touch()  # so that the others are silent
    how = how_ended(code)
    print(f"hieraseg: error: process {rank} {how}; the others were ended", file=sys.stderr)
    return code if code > 0 else 128 - code


def how_ended(code: int) -> str:
    """What the exit code of a process says; it is negative if a signal killed it."""
    return f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _have_ended(processes: Iterable["subprocess.Popen[bytes]"]) -> bool:
    """Whether all processes end by themselves within the time of grace."""
    deadline = time.monotonic() + _GRACE
    try:
        for process in processes:
            process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(processes: _Processes, ask: bool = True) -> None:
    """End processes: by SIGKILL, but give the first one of the run time to write what it has.

    Args:
        processes: those to end, by rank.
        ask: whether the first one is asked to end, by SIGTERM.
    """
    running = {rank: process for rank, process in processes.items() if process.poll() is None}
    for rank, process in running.items():
        if rank == 0 and ask:
            process.terminate()
        elif ask:
            process.kill()
    if not _have_ended(running.values()):
        for process in running.values():
            process.kill()
            process.wait()
