"""What a worker process does: job after job."""

import io
import multiprocessing
import os
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NamedTuple

from hieraseg import signals
from hieraseg.errors import HierasegError, interrupt_code
from hieraseg.sweeps.jobs import PackedJob
from hieraseg.sweeps.outcomes import Outcome, RunJob


class Share(NamedTuple):
    """What a worker uses of this machine: a number of threads, and one GPU, if there are some."""

    threads: int
    gpu: str | None


def shares(workers: int) -> list[Share]:
    """The share of each worker: equally many cores, and one of the GPUs in turn."""
    import torch

    is_limited = hasattr(os, "sched_getaffinity")  # Linux can give a process some of the cores
    cores = len(os.sched_getaffinity(0)) if is_limited else os.cpu_count() or 1
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    known = visible.split(",") if visible else map(str, range(torch.cuda.device_count()))
    gpus = list(known) if torch.cuda.is_available() else []
    threads = min(torch.get_num_threads(), max(cores // workers, 1))
    return [Share(threads, gpus[number % len(gpus)] if gpus else None) for number in range(workers)]


def work(connection: Connection, run_job: RunJob, share: Share) -> None:
    """Do jobs that come through a connection, until it ends; send lines and outcomes.

    None is sent as soon as signals end a job as they should, instead of this process.

    Args:
        connection: the connection, which gives a `PackedJob` at a time.
        run_job: does a job.
        share: what this process uses of the machine.
    """
    lines = _Lines(connection)
    sys.stdout = sys.stderr = lines
    _watch_parent()
    if os.name != "nt":
        os.setsid()  # Ctrl-C reaches only the command, which passes it on
    signals.accept_ctrl_c()
    with (
        suppress(KeyboardInterrupt, EOFError, OSError),
        signals.handled_by(signals.interrupt),  # whoever asks this process to end
    ):
        lines.send(None)
        _use(share)
        while True:
            packed: PackedJob = connection.recv()
            lines.send(_run(packed, run_job))


def _run(packed: PackedJob, run_job: RunJob) -> Outcome:
    try:
        return run_job(packed.unpacked())
    except HierasegError as error:
        return Outcome(packed.title, "failed", message=str(error), exit_code=error.exit_code)
    except KeyboardInterrupt as error:
        message = str(error) or "interrupted"
        return Outcome(packed.title, "failed", message=message, exit_code=interrupt_code(error))


def _use(share: Share) -> None:
    if share.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu  # before torch is imported
    import torch

    torch.set_num_threads(share.threads)


def _watch_parent() -> None:
    """End this process when the command has ended, however it did."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Lines(io.TextIOBase):
    """A stream that sends each line through a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._partial = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the text."""
        return "utf-8"

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Send the lines that are complete; of a line that is drawn again, its last state."""
        with self._lock:
            *lines, self._partial = (self._partial + text).split("\n")
            for line in lines:
                self.send(line.rstrip("\r").rpartition("\r")[2])
        return len(text)

    def send(self, message: object) -> None:
        """Send something between lines."""
        with self._lock:
            self._connection.send(message)
