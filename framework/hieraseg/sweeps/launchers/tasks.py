"""Tasks: what does a job in a process of its own, on this machine or another one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from hieraseg.errors import RecipeError, Stopped
from hieraseg.files.writing import write_errors, write_text
from hieraseg.sweeps.jobs import Job
from hieraseg.sweeps.outcomes import Outcome

FOLDER = "launched"
"""Folder below that of all runs, with a folder of each command that launches jobs."""

_GRACE = 60  # seconds that an interrupted run has to write its checkpoint
_SAYS = re.compile(r"^hieraseg: (?:error: ?)?", re.MULTILINE)


@dataclass(frozen=True)
class Task:
    """A job as plain values, which can be sent to other machines.

    Attributes:
        title: title of the job.
        arguments: those of the program `hieraseg`.
        folder: working directory.
        log: file for what the program writes to stderr; it exists as soon as the task has begun.
        devices: number of GPUs that the job would use; 0 if it trains on the CPU.
    """

    title: str
    arguments: tuple[str, ...]
    folder: str
    log: str
    devices: int

    @property
    def has_begun(self) -> bool:
        """Whether a process does or did the job."""
        return os.path.exists(self.log)


class Done(NamedTuple):
    """How a task has ended.

    Attributes:
        exit_code: exit code of its process.
        output: what it wrote to stdout.
        seconds: how long it took.
        problem: why its process has no result, if its engine says so.
    """

    exit_code: int
    output: str = ""
    seconds: float = 0.0
    problem: str = ""


def new_folder(out: Path) -> Path:
    """A new folder for recipes and logs of tasks, which only this user can read.

    Engines keep pickled objects in it, which nobody else may replace.

    Raises:
        WriteError: it cannot be created.
    """
    now = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    path, number = out.absolute() / FOLDER / now, 1
    with write_errors(path):
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir(mode=0o700)
            except FileExistsError:
                number += 1
                path = path.with_name(f"{now}_{number}")
            else:
                return path


def check_nodes(jobs: Sequence[Job]) -> None:
    """Raise RecipeError if a job needs several nodes."""
    for job in jobs:
        if job.recipe.training.num_nodes > 1:
            raise RecipeError(
                f"{job.title}: training.num_nodes: a launcher starts each job on one node; set it "
                "to 1, or start this run with srun and without --launcher"
            )


def prepare(jobs: Sequence[Job], folder: Path, again: bool = False) -> list[Task]:
    """Write the resolved recipe of each job, and say how it is run.

    Args:
        jobs: the jobs.
        folder: folder for the recipes.
        again: whether all of each job is done, whatever earlier runs there are.

    Raises:
        WriteError: a recipe cannot be written.
    """
    return [_task(job, folder / str(number), again) for number, job in enumerate(jobs, 1)]


def _task(job: Job, folder: Path, again: bool) -> Task:
    # The run folder has the name of the recipe's file.
    recipe = folder / f"{job.recipe.path.stem}.yaml"
    with write_errors(folder):
        folder.mkdir()
    write_text(recipe, job.recipe.to_yaml())
    training = job.recipe.training
    return Task(
        title=job.title,
        arguments=(
            *("run", str(recipe), f"--run-name={job.name}", f"--out={job.out}", "--json"),
            # As a sweep of one seed, the command goes on with an earlier run, also with that of
            # this task, if the engine has to begin it again.
            *(() if again else ("--seeds", str(training.seed))),
        ),
        folder=os.getcwd(),
        log=str(folder / "log.txt"),
        devices=0 if training.device == "cpu" else training.devices,
    )


class Doing:
    """Does a task. Engines pickle it before that, and call it on the machine they have chosen."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, task: Task) -> Done:
        """Do a task."""
        started = time.monotonic()
        with open(task.log, "ab") as log:
            self._process = process = _start(task, log)
            try:
                output = _output(process)
            except BaseException:  # the engine interrupts the task, or its time is over
                _interrupt(process)
                raise
        seconds = time.monotonic() - started
        return Done(process.returncode, output.decode(errors="replace"), seconds)

    def stop(self) -> None:
        """Let the run save its state and end; may be called by a signal handler meanwhile."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)


def do(task: Task) -> Done:
    """Do a task."""
    return Doing()(task)


def _start(task: Task, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    # Slurm has started one process, this one; the command starts one per GPU by itself.
    variables = {key: value for key, value in os.environ.items() if key != "SLURM_NTASKS"}
    with _without_notices():
        return subprocess.Popen(
            [sys.executable, "-m", "hieraseg", *task.arguments],
            cwd=task.folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )


@contextmanager
def _without_notices() -> Iterator[None]:
    """A process that starts meanwhile is not ended by the signals that Slurm gives notice with.

    Slurm sends them to all processes of a job; they are for this one.
    """
    if os.name == "nt":
        yield
        return
    notices = {signal.SIGUSR1, signal.SIGUSR2}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, notices)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _output(process: "subprocess.Popen[bytes]") -> bytes:
    """What a process writes to stdout until it ends."""
    while True:
        try:
            return process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            pass  # ray interrupts Python between two calls only


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    """Let a run write what it has to, as after Ctrl-C."""
    process.terminate()
    try:
        process.communicate(timeout=_GRACE)
    except BaseException:
        process.kill()
        raise


def outcome(task: Task, done: Done) -> Outcome:
    """The outcome of a job."""
    results = _results(done.output)
    folder = Path(results[0]["run"]) if results and results[0].get("run") else None
    keys = ("run", "job", "state")
    result = {key: results[0][key] for key in results[0] if key not in keys} if results else {}
    if done.exit_code == 0 and folder is not None:
        return Outcome(task.title, "finished", folder, seconds=done.seconds, result=result)
    code = done.exit_code if done.exit_code > 0 else 128 - done.exit_code
    said = [done.problem, _last_words(task)]
    if code == Stopped.exit_code and not any(said):
        return Outcome(task.title, "runs elsewhere", exit_code=code, seconds=done.seconds)
    message = ": ".join(filter(None, said)) or f"ended with exit code {code}"
    if not said[1]:
        message += f"; see {task.log}"
    return Outcome(task.title, "failed", folder, message, code, done.seconds, result)


def _results(output: str) -> list[dict[str, Any]]:
    """The results that a run printed; none if it was ended before."""
    try:
        results = json.loads(output)
    except ValueError:
        return []
    return results if isinstance(results, list) else []


def _last_words(task: Task) -> str:
    """The error message at the end of a log, if there is one."""
    try:
        log = Path(task.log).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = list(_SAYS.finditer(log))
    return log[found[-1].end() :].strip() if found else ""
