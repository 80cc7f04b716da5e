"""Starting tasks on an engine, and waiting for them."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from rich.progress import BarColumn

from hieraseg.console import log, progress_bar, text_column
from hieraseg.sweeps.jobs import Job
from hieraseg.sweeps.launchers.tasks import Done, Task, check_nodes, new_folder, outcome, prepare
from hieraseg.sweeps.outcomes import Outcome

_INTERVAL = 1  # seconds between two questions whether a task is done


@runtime_checkable
class Handle(Protocol):
    """A task that an engine has taken."""

    def poll(self) -> Done | None:
        """How it has ended; None if it has not."""

    def cancel(self) -> None:
        """Keep it from being started, or interrupt it; without waiting."""


@runtime_checkable
class Engine(Protocol):
    """What finds a machine for each task.

    Attributes:
        name: its name on the command line.
        outlives: whether tasks go on when this command ends.
    """

    name: str
    outlives: bool

    def start(self, tasks: Sequence[Task], folder: Path) -> list[Handle]:
        """Take tasks.

        Args:
            tasks: the tasks.
            folder: a folder for files of the engine, which all machines and only this user read.

        Raises:
            RecipeError: the engine refuses them.
        """

    def close(self) -> None:
        """End what `start` has started beside tasks."""


class Launcher:
    """Does jobs by an engine.

    Args:
        engine: the engine.
        again: whether all of each job is done, whatever earlier runs there are.
    """

    def __init__(self, engine: Engine, again: bool = False) -> None:
        self.engine = engine
        self.again = again

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Do jobs, and give the outcome of each as soon as it is known.

        Raises:
            RecipeError: the jobs cannot be launched.
            WriteError: their recipes cannot be written.
            KeyboardInterrupt: the user has stopped waiting; the message says what goes on.
        """
        if not jobs:
            return
        check_nodes(jobs)
        folder = new_folder(jobs[0].out)
        tasks = prepare(jobs, folder, self.again)
        try:
            waiting = dict(zip(tasks, self.engine.start(tasks, folder), strict=True))
            log(f"{len(jobs)} jobs are given to {self.engine.name}; their logs are in {folder}")
            try:
                yield from _outcomes(waiting)
            except KeyboardInterrupt as error:
                raise type(error)(self._stop(waiting)) from None
            except GeneratorExit:  # nobody waits any more
                log(self._stop(waiting))
                raise
        finally:
            self.engine.close()

    def _stop(self, waiting: dict[Task, Handle]) -> str:
        """Cancel what has not begun, and what would not outlive this command."""
        begun = [task for task in waiting if task.has_begun]
        if begun and not self.engine.outlives:
            log("waiting until interrupted jobs have saved; press Ctrl-C again to end them at once")
        for task, handle in waiting.items():
            if task not in begun or not self.engine.outlives:
                handle.cancel()
        pending = len(waiting) - len(begun)
        parts = [f"{pending} jobs that had not begun are cancelled"] if pending else []
        if begun:
            what = "go on" if self.engine.outlives else "are interrupted"
            parts.append(f"{len(begun)} {what}: {', '.join(task.title for task in begun)}")
        return f"interrupted; {', and '.join(parts)}"


def _outcomes(waiting: dict[Task, Handle]) -> Iterator[Outcome]:
    """The outcome of each task as soon as it is known, which is then waited for no longer."""
    total = len(waiting)
    with progress_bar(
        text_column("jobs"),
        BarColumn(),
        text_column("{task.completed}/{task.total}, {task.fields[running]} running"),
    ) as bar:
        shown = bar.add_task("", total=total, running=0)
        while waiting:
            for task, handle in list(waiting.items()):
                done = handle.poll()
                if done is not None:
                    del waiting[task]
                    yield outcome(task, done)
            running = sum(task.has_begun for task in waiting)
            bar.update(shown, completed=total - len(waiting), running=running)
            if waiting:
                time.sleep(_INTERVAL)
