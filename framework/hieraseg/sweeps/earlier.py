"""Earlier runs of jobs: those that need not be done again, or only the rest of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from hieraseg.errors import HierasegError, RecipeError, Stopped
from hieraseg.files.paths import quoted
from hieraseg.files.writing import write_errors
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build
from hieraseg.recipe.dataset import build_dataset
from hieraseg.registry.files import PluginFile
from hieraseg.runs.changes import Change
from hieraseg.runs.empty import is_empty
from hieraseg.runs.finished import read_finished, read_identity
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.identity import identity_of
from hieraseg.runs.provenance import DataRecord, data_record, inputs
from hieraseg.runs.resuming import changes_since, refusal
from hieraseg.runs.saved import saved_step
from hieraseg.runs.status import is_running
from hieraseg.sweeps.jobs import Job
from hieraseg.sweeps.outcomes import Outcome
from hieraseg.training.setup import open_data
from hieraseg.training.starting import read_start

Todo = Literal["new", "resume", "finished", "running"]
"""What is left of a job: all of it, the rest of a run, nothing, or what another process does."""

_LONGER = (
    "with {0} epochs, since it was resumed with more than the {1} of this command; leave out "
    "--resume for another run of {1}"
)


@dataclass(frozen=True)
class Earlier:
    """What earlier runs leave to be done of a job.

    Attributes:
        todo: what is left.
        run: the run that is finished, runs, or can be resumed; or that of which nothing is left,
            in whose place the job begins anew.
        step: step after which it is resumed.
        reason: why earlier runs do not count, or how a finished run differs from what the job asks
            for; else empty.
        result: the scores on `val` and the cost of a finished run, as in `result.json`.
    """

    todo: Todo
    run: Path | None = None
    step: int | None = None
    reason: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_left(self) -> bool:
        """Whether there is something to do."""
        return self.todo in ("new", "resume")

    def outcome(self, title: str) -> Outcome | None:
        """The outcome of a job of this title with which there is nothing to do, else None."""
        if self.todo == "finished":
            return Outcome(title, "skipped", self.run, result=self.result)
        if self.todo == "running":
            return Outcome(title, "runs elsewhere", self.run, exit_code=Stopped.exit_code)
        return None


class EarlierRuns:
    """Finds earlier runs in the place of jobs.

    What jobs have in common, such as the data, is read once.

    Args:
        refuses_changes: whether a job whose latest run cannot go on, because something has changed,
            is refused; else the job has a new run. If only what may change has, the run goes on.
    """

    def __init__(self, refuses_changes: bool = False) -> None:
        self.refuses_changes = refuses_changes
        self._data: dict[str, DataRecord] = {}
        self._inputs: dict[str, dict[str, Any]] = {}

    def of(self, job: Job) -> Earlier:
        """What earlier runs leave to be done of a job.

        One counts if it has the settings, the seed, the data and the code that the job would have.
        Settings that change no score, such as those of `logging`, may differ.

        Raises:
            RecipeError: changes are refused, and the latest run cannot go on because of them, or
                its records are damaged.
        """
        folders = list(_numbered(job))
        if not folders:
            return Earlier("new")
        try:
            now = self._inputs_of(job.recipe)
        except HierasegError:
            return Earlier("new")  # the job will say by itself why it cannot be run
        identity = identity_of(job.recipe.path.stem, job.recipe.to_dict(), now)  # type: ignore[arg-type]
        same = [folder for folder in folders if _identity(folder) == identity]
        found = _finished(same) or _running(same) or _resumable(same)
        if found is None and self.refuses_changes:
            _check_records(folders[-1])
            found = _changed(job, folders, now)
        if found is not None:
            return found
        empty = [folder for folder in folders if is_empty(folder)]
        if empty:
            return Earlier("new", empty[-1].path)
        return Earlier("new", reason=_reason(folders, same))

    @contextmanager
    def claim(self, job: Job) -> Iterator[Earlier]:
        """Keep other commands from doing a job meanwhile, and look what is left of it.

        Run folders have a lock of their own, but there is none until the data are decoded.

        Raises:
            RecipeError: as `of`.
            WriteError: the lock cannot be written.
        """
        folder = job.folder()
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        with write_errors(folder.parent), suppress(Timeout):
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        try:
            yield self.of(job) if lock.is_locked else Earlier("running", folder)
        finally:
            if lock.is_locked:
                Path(lock.lock_file).unlink(missing_ok=True)
                lock.release()

    def _inputs_of(self, recipe: Recipe) -> dict[str, Any]:
        """What provenance a run of a recipe would have, as far as results depend on it."""
        settings = recipe.with_seed(0).to_yaml()
        if settings not in self._inputs:
            start = read_start(recipe)
            self._inputs[settings] = {
                **inputs(recipe, self._data_of(recipe)),
                "plugin_files": _copies(recipe.plugins),
                "init": None if start is None else {"sha256": start.sha256},
            }
        return self._inputs[settings]

    def _data_of(self, recipe: Recipe) -> DataRecord:
        key = repr((recipe["data"], recipe["hierarchy"]))
        if key not in self._data:
            hierarchy = build(recipe["hierarchy"])
            stores, _ = open_data(recipe, build_dataset(recipe, hierarchy), hierarchy)
            self._data[key] = data_record(stores)
        return self._data[key]


def _identity(folder: RunFolder) -> str:
    try:
        return read_identity(folder)
    except RecipeError:  # damaged, or without provenance
        return ""


def _damage(folder: RunFolder) -> str:
    """What is wrong with the records of what a run is, and of its result, if it has one."""
    try:
        read_identity(folder)
        if folder.result.exists():
            folder.read_result()
    except RecipeError as error:
        return str(error)
    return ""


def _check_records(folder: RunFolder) -> None:
    """Raise RecipeError if the records of a run that has left something are damaged."""
    damage = _damage(folder)
    has_left = folder.provenance, folder.metrics, folder.result, folder.checkpoint("last")
    if damage and not is_empty(folder) and any(one.exists() for one in has_left):
        raise RecipeError(f"{damage} without --resume")


def _finished(runs: Sequence[RunFolder]) -> Earlier | None:
    """The latest finished run."""
    found = []
    for folder in runs:
        try:
            found.append(read_finished(folder, "val"))
        except RecipeError:
            continue
    if not found:
        return None
    run = max(found, key=lambda one: one.started)
    return Earlier("finished", run.path, result={"splits": {"val": run.scores}, "cost": run.cost})


def _running(runs: Sequence[RunFolder]) -> Earlier | None:
    """A run that another process does; also if it cannot be known that none does."""
    going = [folder.path for folder in runs if is_running(folder) is not False]
    return Earlier("running", going[-1]) if going else None


def _resumable(runs: Sequence[RunFolder]) -> Earlier | None:
    """The run that has come furthest, of those with a checkpoint."""
    steps = [(step, folder.path) for folder in runs if (step := saved_step(folder)) is not None]
    if not steps:
        return None
    step, path = max(steps)
    return Earlier("resume", path, step)


def _changed(job: Job, folders: Sequence[RunFolder], now: Mapping[str, Any]) -> Earlier | None:
    """The latest run that has come somewhere, of another identity.

    Raises:
        RecipeError: something has changed that may not.
    """
    runs = [folder for folder in folders if _identity(folder) and not is_empty(folder)]
    if not runs:
        return None
    latest = max(runs, key=lambda folder: folder.read_provenance().get("started", ""))
    finished = _finished([latest])
    others = _running([latest]) or _resumable([latest])
    if finished is None and others is None:
        return None  # nothing of it could be gone on with
    allowed, refused = changes_since(latest, job.recipe.to_dict(), now)
    if finished is not None and [one.key for one in refused] == ["training.epochs"]:
        trained, asked = refused[0].before, refused[0].after
        if asked in _epochs_before(latest):
            return replace(finished, reason=_LONGER.format(trained, asked))
    if refused:
        raise refusal(latest, refused, _fix(latest, refused, finished is not None))
    keys = {one.key for one in allowed}
    stopped_early = finished is not None and finished.result["cost"].get("stopped_early", False)
    if "training.epochs" in keys or (stopped_early and "validation.patience" in keys):
        finished = None
    return finished or others


def _epochs_before(run: RunFolder) -> list[str]:
    """Numbers of epochs that a run had before it was resumed with more."""
    resumed = run.read_provenance().get("resumed", ())
    changed = [one.get("changed", {}).get("training.epochs") for one in resumed]
    return [one[0] for one in changed if one]


def _fix(run: RunFolder, refused: Sequence[Change], is_finished: bool) -> str:
    """What to do with `--resume` about a run that cannot go on."""
    another = "leave out --resume for another run beside it"
    resumed = run.read_provenance().get("resumed", ())
    given = [key for one in resumed for key in one.get("changed", {})]
    if not all(one.key in given for one in refused):
        return f"undo that, or {another}"
    # The command is as before, and the run is not.
    go_on = "" if is_finished else f"go on with `hieraseg resume {quoted(run.path)}`, or "
    return f"it was changed when the run was resumed; {go_on}{another}"


def _reason(folders: Sequence[RunFolder], same: Sequence[RunFolder]) -> str:
    damage = _damage(folders[-1])
    if damage:
        return damage.partition("; ")[0]
    if same:
        return f"{same[-1].path} has no checkpoint to go on from"
    return f"{folders[-1].path} has other settings, code or data"


def _numbered(job: Job) -> Iterator[RunFolder]:
    """The run folder of a job, then those of its repetitions (see `RunFolder.create`)."""
    parent, seed = job.folder().parent, job.recipe.training.seed
    pattern = re.compile(rf"{re.escape(job.name)}(?:-run(\d+))?-seed{seed}")
    paths = parent.iterdir() if parent.is_dir() else ()
    found = {path: match for path in paths if (match := pattern.fullmatch(path.name))}
    for path in sorted(found, key=lambda path: int(found[path][1] or 1)):
        if path.is_dir():
            yield RunFolder(path)


def _copies(files: Sequence[PluginFile]) -> list[dict[str, Any]]:
    """The record of the copies of plugin files that a run folder has (see `copy_plugins`)."""
    records: dict[str, str] = {}
    for file in files:
        name, number = file.path.name, 2
        while name in records:
            name, number = f"{file.path.stem}_{number}{file.path.suffix}", number + 1
        records[name] = file.sha256
    return [{"file": f"plugins/{name}", "sha256": digest} for name, digest in records.items()]
