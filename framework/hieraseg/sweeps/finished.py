"""Jobs that need not be done, because a finished run of them is there."""

import glob
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hieraseg.errors import HierasegError, RecipeError
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build
from hieraseg.recipe.dataset import build_dataset
from hieraseg.registry.files import PluginFile
from hieraseg.runs.finished import FinishedRun, read_finished
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.identity import identity_of
from hieraseg.runs.provenance import provenance
from hieraseg.runs.status import is_running
from hieraseg.sweeps.jobs import Job
from hieraseg.training.setup import open_data
from hieraseg.training.starting import read_start


class Earlier(NamedTuple):
    """Earlier runs of a job.

    Attributes:
        finished: a finished run that the job would only repeat; None if it has to be done.
        reason: why earlier runs do not count; empty if there are none, or one counts.
    """

    finished: FinishedRun | None
    reason: str = ""


class EarlierRuns:
    """Finds earlier runs in the place of jobs.

    What jobs have in common, such as the data, is read once.
    """

    def __init__(self) -> None:
        self._fingerprints: dict[str, dict[str, str]] = {}
        self._identities: dict[str, str] = {}

    def of(self, job: Job) -> Earlier:
        """Earlier runs of a job.

        One counts if it has the settings, the seed, the data and the code that the job would have.
        Settings that change no score, such as those of `logging`, may differ.
        """
        folders = list(_numbered(job))
        if not folders:
            return Earlier(None)
        runs = []
        for folder in folders:
            try:
                runs.append(read_finished(folder, "val"))
            except RecipeError:
                continue
        if not runs:
            going = [folder.path for folder in folders if is_running(folder)]
            if going:
                return Earlier(None, f"{going[-1]} did not finish yet (it still runs)")
            return Earlier(None, f"{folders[-1].path} did not finish")
        identity = self._identity(job)
        same = [run for run in runs if run.identity == identity]
        if not same:
            return Earlier(None, f"{runs[-1].path} has other settings, code or data")
        return Earlier(max(same, key=lambda run: run.started))

    def _identity(self, job: Job) -> str:
        """The identity that a run of the job would have; empty if it cannot be run."""
        settings = job.recipe.with_seed(0).to_yaml()
        if settings not in self._identities:
            try:
                self._identities[settings] = self._identity_of(job.recipe)
            except HierasegError:
                return ""  # which the job will say by itself
        return self._identities[settings]

    def _identity_of(self, recipe: Recipe) -> str:
        start = read_start(recipe)
        records = {
            **provenance(recipe, self._data_of(recipe)),
            "plugin_files": _copies(recipe.plugins),
            "init": None if start is None else {"sha256": start.sha256},
        }
        return identity_of(recipe.path.stem, recipe.to_dict(), records)  # type: ignore[arg-type]

    def _data_of(self, recipe: Recipe) -> dict[str, str]:
        """Fingerprint of each split, as the provenance of a run records it."""
        key = repr((recipe["data"], recipe["hierarchy"]))
        if key not in self._fingerprints:
            hierarchy = build(recipe["hierarchy"])
            stores, _ = open_data(recipe, build_dataset(recipe, hierarchy), hierarchy)
            self._fingerprints[key] = {split: one.fingerprint for split, one in stores.items()}
        return self._fingerprints[key]


def _numbered(job: Job) -> Iterator[RunFolder]:
    """The run folder of a job, and those of its repetitions (see `RunFolder.create`)."""
    parent, seed = job.folder().parent, job.recipe.training.seed
    name = glob.escape(job.name)
    for pattern in (f"{name}-seed{seed}", f"{name}-run*-seed{seed}"):
        yield from (RunFolder(path) for path in sorted(parent.glob(pattern)) if path.is_dir())


def _copies(files: Sequence[PluginFile]) -> list[dict[str, Any]]:
    """The record of the copies of plugin files that a run folder has (see `copy_plugins`)."""
    records: dict[str, str] = {}
    for file in files:
        name, number = file.path.name, 2
        while name in records:
            name, number = f"{file.path.stem}_{number}{file.path.suffix}", number + 1
        records[name] = file.sha256
    return [{"file": f"plugins/{name}", "sha256": digest} for name, digest in records.items()]
