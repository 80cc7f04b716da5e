"""Runs to resume: one with all that may be left of it, and the recipe of others."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hieraseg.training.checkpoints import CheckpointWriter
from tests.support.processes import write_recipe
from tests.support.resuming import KilledRuns, contents, start


@pytest.fixture(scope="package", autouse=True)
def no_figures() -> Iterator[None]:
    """Runs draw no figures, which would take half of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hieraseg.training.recorder.save_run_figures", lambda *arguments: None)
        yield


@pytest.fixture(scope="package")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="package")
def killed_runs(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> KilledRuns:
    """Tests must not change them."""
    folder, write = tmp_path_factory.mktemp("killed"), CheckpointWriter.write
    copies: dict[Path, dict[Path, bytes]] = {}

    def copy(source: Path) -> Path:
        path = folder / f"copy{len(copies):02}"
        shutil.copytree(source, path)
        if contents(path) in copies.values():
            shutil.rmtree(path)
        else:
            copies[path] = contents(path)
        return path

    def copying(self: CheckpointWriter, checkpoint: Any) -> None:
        """Before checkpoints are written, and after; `best` may have the weights of `last`."""
        copy(self.folder.path)
        best = self.folder.checkpoint("best")
        write(self, checkpoint)
        copy(self.folder.path)
        if checkpoint.is_best and best.with_name("best_2").is_dir():
            between = shutil.copytree(self.folder.path, folder / "between")
            shutil.rmtree(between / "checkpoints/best")
            (between / "checkpoints/best_2").rename(between / "checkpoints/best")
            copy(between)
            shutil.rmtree(between)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointWriter, "write", copying)
        assert start(recipe, folder / "runs") == 0
    (whole,) = folder.glob("runs/*/*")
    return KilledRuns(whole, list(copies))


@pytest.fixture
def killed(killed_runs: KilledRuns, tmp_path: Path) -> Path:
    """A run that was killed after its first epoch, of three steps."""
    return killed_runs.copy(tmp_path / "killed", [3, 2])


@pytest.fixture
def killed_late(killed_runs: KilledRuns, tmp_path: Path) -> Path:
    """A run that was killed after its last step, before it had a result."""
    return killed_runs.copy(tmp_path / "killed", [8, 6])
