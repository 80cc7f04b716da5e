"""Fixtures shared by the tests of commands."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hieraseg.cli import main
from hieraseg.recipe import Recipe
from hieraseg.runs.folder import RunFolder
from tests.support.components import VALID
from tests.support.runs import QUICKSTART, SMALL


@pytest.fixture
def run_copy(trained_run: Path, tmp_path: Path) -> Path:
    """Copy of the trained run that a test may change."""
    return Path(shutil.copytree(trained_run, tmp_path / "copy"))


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A recipe file whose components are those of `tests.support.components`."""
    path = tmp_path / "recipe.yaml"
    path.write_text(VALID)
    return str(path)


class Training:
    """Stands for training: copies a run, or raises an error.

    Args:
        finished: folder of the run.

    Attributes:
        errors: errors by name of a loss.
        before: called first.
        done: name of the loss, and the seed, of each call.
    """

    def __init__(self, finished: Path) -> None:
        self.finished = finished
        self.errors: dict[str, BaseException] = {}
        self.before: Callable[[], object] = lambda: None
        self.done: list[tuple[str, int]] = []

    def __call__(self, recipe: Recipe, out: Path, name: str) -> RunFolder:
        self.before()
        loss, seed = recipe["loss"].name, recipe.training.seed
        self.done.append((loss, seed))
        if loss in self.errors:
            raise self.errors[loss]
        folder = RunFolder.create(out, recipe.path.stem, name, seed)
        shutil.copytree(self.finished, folder.path, dirs_exist_ok=True)
        return folder


@pytest.fixture
def training(trained_run: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    training = Training(trained_run)
    monkeypatch.setattr("hieraseg.train.train", training)
    return training


@pytest.fixture
def earlier(trained_run: Path, tmp_path: Path) -> Path:
    """A run that a command with `--out tmp_path` finds in its place."""
    place = tmp_path / trained_run.parent.name / trained_run.name
    return Path(shutil.copytree(trained_run, place))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., int]:
    """Runs the quickstart as the run `earlier` was."""

    def run(*arguments: str, recipe: str | Path = QUICKSTART) -> int:
        own = [*SMALL, "--training.epochs", "2", "--out", str(tmp_path)]
        return main(["run", str(recipe), *own, *arguments])

    return run
