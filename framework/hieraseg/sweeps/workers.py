"""Doing several jobs at a time, in worker processes of this machine."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from hieraseg.console import log
from hieraseg.errors import RecipeError, Stopped
from hieraseg.launch import how_ended
from hieraseg.sweeps.jobs import Job
from hieraseg.sweeps.outcomes import Outcome, RunJob
from hieraseg.sweeps.running import announcement
from hieraseg.sweeps.working import Share, shares, work

_GRACE = 15  # seconds that workers have to end by themselves


def run_in_workers(jobs: Sequence[Job], run_job: RunJob, workers: int) -> Iterator[Outcome]:
    """Do jobs, several at a time.

    Each worker process does job after job, so that it imports torch once. One that dies is
    replaced, and its job has failed. On a machine with GPUs each worker has one, in turn; the cores
    are shared equally. Lines that workers log appear with the title of the job.

    Args:
        jobs: the jobs.
        run_job: does one; it is pickled.
        workers: number of jobs at a time.

    Yields:
        The outcome of each job, in the order in which they end.

    Raises:
        KeyboardInterrupt: the user interrupts; the outcomes of the jobs that were being done come
            first. Those whose worker had only begun to start have none.
        Stopped: so does the system.
    """
    if not jobs:  # all are finished
        return
    pool = _Pool(jobs, run_job, min(workers, len(jobs)))
    try:
        yield from pool.outcomes()
    except KeyboardInterrupt as error:
        is_ctrl_c = not isinstance(error, Stopped)
        yield from pool.interrupt(signal.SIGINT if is_ctrl_c else signal.SIGTERM)
        raise
    except GeneratorExit:  # the command was interrupted while it said what became of a job
        pool.end()
        raise
    finally:
        pool.close()


def check_devices(jobs: Sequence[Job]) -> None:
    """Raise RecipeError if a job needs several devices itself."""
    for job in jobs:
        training = job.recipe.training
        if training.devices * training.num_nodes > 1:
            raise RecipeError(
                f"--jobs: {job.title} trains on {training.devices} devices itself; "
                "leave out --jobs, or set training.devices to 1"
            )


class _Worker:
    """A worker process, and the job that it does.

    Args:
        number: number of the worker.
        run_job: does a job.
        share: the share of this machine that it uses.
    """

    def __init__(self, number: int, run_job: RunJob, share: Share) -> None:
        self.number = number
        self.job: Job | None = None
        self.started = 0.0
        self.handles_signals = False
        self.connection, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process: BaseProcess = context.Process(target=work, args=(theirs, run_job, share))
        with _without_interrupts():
            self.process.start()
        theirs.close()  # so that the connection ends with the process

    def take(self, job: Job) -> None:
        """Begin a job."""
        self.job, self.started = job, time.monotonic()
        with suppress(OSError):  # it has died, which its connection says next
            self.connection.send(job.packed())

    def interrupt(self, number: int) -> None:
        """End the job as a signal does."""
        assert self.process.pid is not None
        if os.name == "nt":  # which has no signals
            self.process.terminate()
        else:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def lost(self) -> Outcome:
        """The outcome of the job of a process that has died."""
        assert self.job is not None
        self.process.join(_GRACE)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        return Outcome(
            self.job.title,
            "failed",
            message=f"its worker process {how_ended(code)}",
            exit_code=code if code > 0 else 128 - code,
            seconds=time.monotonic() - self.started,
        )


class _Pool:
    """Workers, and the jobs that wait for them."""

    def __init__(self, jobs: Sequence[Job], run_job: RunJob, size: int) -> None:
        self.total = len(jobs)
        self.waiting = list(jobs)
        self.is_interrupted = False
        self.run_job = run_job
        self.shares = shares(size)
        self.busy: dict[Connection, _Worker] = {}
        self.ending: list[BaseProcess] = []

    def outcomes(self) -> Iterator[Outcome]:
        """Do all jobs."""
        for number in range(len(self.shares)):
            self._start(number)
        while self.busy:
            yield from self._next()

    def interrupt(self, number: int) -> Iterator[Outcome]:
        """Pass a signal on to the jobs that are being done, and begin no others."""
        self.waiting.clear()
        self.is_interrupted = True
        for worker in self.busy.values():
            # A process that starts ignores Ctrl-C, and would do its job.
            worker.interrupt(number if worker.handles_signals else signal.SIGTERM)
        while self.busy:
            yield from self._next()

    def end(self) -> None:
        """Let the jobs that are being done end, without their outcomes."""
        for worker in self.busy.values():
            worker.interrupt(signal.SIGTERM)
        for worker in self.busy.values():
            worker.process.join(_GRACE)

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self.busy.values():
            worker.process.kill()
            self.ending.append(worker.process)
        for process in self.ending:
            process.join(_GRACE)
            process.kill()

    def _start(self, number: int) -> None:
        worker = _Worker(number, self.run_job, self.shares[number])
        self.busy[worker.connection] = worker
        self._continue(worker)

    def _continue(self, worker: _Worker) -> None:
        """Let a worker begin the next job, or end if there is none."""
        if not self.waiting:
            del self.busy[worker.connection]
            worker.connection.close()
            self.ending.append(worker.process)
            return
        job = self.waiting.pop(0)
        worker.take(job)
        log(announcement(self.total - len(self.waiting), self.total, job.title))

    def _next(self) -> Iterator[Outcome]:
        """Wait for messages of workers: lines that they log, outcomes, and None at first."""
        for connection in wait(list(self.busy)):
            assert isinstance(connection, Connection)
            worker = self.busy[connection]
            try:
                message = connection.recv()
            except (EOFError, OSError):
                del self.busy[connection]
                self.ending.append(worker.process)
                if worker.handles_signals or not self.is_interrupted:
                    yield worker.lost()
                if self.waiting:
                    self._start(worker.number)
                continue
            if message is None:
                worker.handles_signals = True
            elif isinstance(message, Outcome):
                yield message
                self._continue(worker)
            elif worker.job is not None:
                log(f"[{worker.job.title}] {message}")


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that starts meanwhile ignores Ctrl-C, until it is in a session of its own."""
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
