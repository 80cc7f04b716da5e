"""The state of runs, also of those that still train or never finished."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypedDict, cast, get_args

from hieraseg.errors import RecipeError
from hieraseg.files.writing import is_free
from hieraseg.runs.finished import find_runs, read_recipe
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.json_types import problem_in
from hieraseg.runs.records import LevelMeans, Result, Score, read_record
from hieraseg.runs.saved import saved_step
from hieraseg.runs.validations import read_validations

State = Literal[
    "finished", "running", "interrupted", "diverged", "failed", "stopped", "unknown", "damaged"
]
"""`stopped`: the process ended without a message, as when it is killed. `unknown`: this user may
not open the lock that says whether it still runs. `damaged`: a file cannot be read."""

STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class RunStatus:
    """The state of a run.

    Attributes:
        path: the run folder.
        state: the state.
        seed: its seed; None if that is not known.
        epoch: number of finished epochs.
        epochs: number of epochs that it has at its end; None if that is not known.
        score: mIoU of the last level on `val`: that of the best epoch of a finished run, else the
            highest so far.
        step: steps that its newest checkpoint was written after; None if there is none.
        problem: why it failed, diverged or is damaged, else empty.
        changed: when the run last wrote something, in seconds since 1970.
        bytes: size of its files.
    """

    path: Path
    state: State
    seed: int | None = None
    epoch: int = 0
    epochs: int | None = None
    score: Score = None
    step: int | None = None
    problem: str = ""
    changed: float = 0.0
    bytes: int = 0

    @property
    def can_be_resumed(self) -> bool:
        """Whether it has ended early, and can go on. One that diverged would do so again."""
        return self.step is not None and self.state in ("interrupted", "failed", "stopped")


class _Seed(TypedDict):
    seed: int


def read_statuses(root: Path) -> list[RunStatus]:
    """The state of all runs in a folder, the one that changed last at the end."""
    return sorted(map(read_status, find_runs(root)), key=lambda run: run.changed)


def read_status(folder: RunFolder) -> RunStatus:
    """The state of a run."""
    # Before the files are read: one that has ended will write nothing after that.
    running = is_running(folder)
    try:
        status = _finished(folder) or _unfinished(folder, running)
    except RecipeError as error:
        status = RunStatus(folder.path, "damaged", problem=str(error))
    files = list(_files_in(folder.path))
    own = (folder.recipe, folder.provenance, folder.metrics, folder.result, folder.failure)
    written = {os.fspath(path) for path in own}
    changed = max((stat.st_mtime for path, stat in files if path in written), default=0.0)
    size = sum(stat.st_size for _, stat in files)
    step = None
    with suppress(PermissionError):  # of a folder that is for another user alone
        step = saved_step(folder)
    return replace(status, step=step, changed=changed, bytes=size)


def is_running(folder: RunFolder) -> bool | None:
    """Whether a process holds the lock of a run; None if that cannot be found out."""
    if not folder.lock.exists():
        return False
    return not is_free(folder.lock) if os.access(folder.lock, os.W_OK) else None


def _finished(folder: RunFolder) -> RunStatus | None:
    """The state of a run with a result; None if it has none."""
    if not folder.result.exists():
        return None
    result = folder.read_result()
    cost = result["cost"]
    if not cost:
        return None
    epochs = cost.get("epochs")  # older runs have none
    score = _score(folder, result)
    return RunStatus(folder.path, "finished", _seed(folder), epochs or 0, epochs, score)


def _seed(folder: RunFolder) -> int | None:
    """The seed as the provenance has it, which is read in a tenth of the time of a recipe."""
    try:
        provenance: _Seed = read_record(folder.provenance, _Seed)
    except FileNotFoundError:  # of an older run
        return None
    return provenance["seed"]


def _score(folder: RunFolder, result: Result) -> Score:
    """The mIoU of the last level on `val`; None if there is none."""
    scores = result["splits"].get("val", {"levels": []})
    problem = problem_in(scores, LevelMeans, "splits.val")
    if problem:
        raise RecipeError(f"{folder.result}: is damaged ({problem}); run the recipe again")
    levels = cast(LevelMeans, scores)["levels"]
    return levels[-1]["miou"] if levels else None


def _unfinished(folder: RunFolder, running: bool | None) -> RunStatus:
    training = read_recipe(folder)["training"]
    done = read_validations(folder)
    epochs = int(done[-1].passes) if done else 0
    scores = [one.levels[-1] for one in done if one.levels and one.levels[-1] is not None]
    state, problem = _ending(folder, running)
    best = max(scores, default=None)
    return RunStatus(
        folder.path,
        state,
        training["seed"],
        epochs,
        training["epochs"],
        best,
        problem=problem,
    )


def _ending(folder: RunFolder, running: bool | None) -> tuple[State, str]:
    """Whether and how a run without a result has ended, and why."""
    if running is None:
        return "unknown", ""
    if running:
        return "running", ""
    failure = folder.read_failure()
    return (failure["state"], failure["message"]) if failure else ("stopped", "")


def _files_in(folder: Path | str) -> Iterator[tuple[str, os.stat_result]]:
    """All files in a folder, without those that vanish meanwhile, or that this user may not see."""
    with suppress(FileNotFoundError, PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError, PermissionError):
                if entry.is_dir(follow_symlinks=False):
                    yield from _files_in(entry.path)
                else:
                    yield entry.path, entry.stat(follow_symlinks=False)
