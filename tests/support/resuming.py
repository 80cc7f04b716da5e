"""Runs that stop in the middle of training, and go on."""

import shutil
import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hieraseg.cli import main
from hieraseg.files.writing import versions
from hieraseg.runs.checkpoint import read_metadata
from hieraseg.training.recorder import Recorder

SETTINGS = (
    *("--data.train_images", "12", "--data.val_images", "3", "--optimizer.momentum", "0.9"),
    *("--training.epochs", "3", "--checkpoints.every", "2 steps"),
)
"""Three epochs of three steps."""
CUT = ("--training.max_steps", "8")
"""So that the last epoch is not whole."""


class KilledRuns(NamedTuple):
    """A run, and copies of its folder as processes that were killed would leave it.

    Attributes:
        whole: the run.
        copies: the copies, in the order of time; no two have the same files.
    """

    whole: Path
    copies: list[Path]

    def copy(self, folder: Path, steps: list[int]) -> Path:
        """A copy of the run that was killed when its versions of `last` were of these steps."""
        for copy in self.copies:
            found = versions(copy / "checkpoints/last")
            if [read_metadata(path)["step"] for path in found] == steps:
                shutil.copytree(copy, folder)
                (folder / "run.lock").unlink(missing_ok=True)
                return folder
        raise AssertionError(f"no copy has checkpoints of {steps}")


def start(recipe: str, out: Path, *options: str) -> int:
    """Run a recipe with the settings above, and return the exit code."""
    return main(["run", recipe, *SETTINGS, *CUT, "--out", str(out), *options])


def resume(run: Path, *options: str) -> int:
    """Resume a run, and return the exit code."""
    return main(["resume", str(run), *options])


def signal_in(patch: pytest.MonkeyPatch, method: str, call: int, number: int) -> None:
    """Send a signal to this process in some call of a recorder's method."""
    own, calls = getattr(Recorder, method), iter(range(1, 100))

    def wrapper(self: Recorder, *arguments: Any) -> Any:
        result = own(self, *arguments)
        if next(calls) == call:
            signal.raise_signal(number)
        return result

    patch.setattr(Recorder, method, wrapper)


def contents(folder: Path) -> dict[Path, bytes]:
    """All files in a folder, by their path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}
