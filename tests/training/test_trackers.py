"""The trackers of a run: what they are told, and that none of them can end it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning_fabric.loggers import CSVLogger, TensorBoardLogger

from hieraseg import registry
from hieraseg.cli import main
from hieraseg.recipe import ComponentSpec, load
from hieraseg.runs.folder import RunFolder
from hieraseg.training.trackers import Trackers
from tests.support.oracle import write_oracle_recipe
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]


def spec(factory: Any, **arguments: Any) -> ComponentSpec:
    return ComponentSpec("trackers", factory.__name__, arguments, factory)


class Recording:
    """A tracker that keeps what it is told, and fails from one step on."""

    calls: list[tuple[Any, ...]]

    def __init__(self, folder: Path, after_step: int, fails_at: int = 1000) -> None:
        self.calls = [("made", folder, after_step)]
        self.fails_at = fails_at
        made.append(self)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.calls.append(("params", params))

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        if step >= self.fails_at:
            raise OSError(28, "No space left on device")
        self.calls.append(("metrics", metrics, step))

    def finalize(self, status: str) -> None:
        self.calls.append(("end", status))


made: list[Recording] = []


@pytest.fixture(autouse=True)
def none_made() -> None:
    made.clear()


def test_a_tracker_that_fails_is_left_out(tmp_path: Path, capfd: Captured) -> None:
    """After one warning; the others go on."""
    trackers = Trackers([spec(Recording, fails_at=2), spec(Recording)], tmp_path, after_step=7)
    for step in (1, 2, 3):
        trackers.log_metrics({"loss/total": 1.0 / step}, step)
    trackers.finalize("success")
    failing, other = (one.calls for one in made)
    assert failing == [("made", tmp_path, 7), ("metrics", {"loss/total": 1.0}, 1)]
    assert [call[-1] for call in other[1:]] == [1, 2, 3, "success"]
    (warning,) = capfd.readouterr().err.splitlines()
    assert "tracker Recording: fails (No space left on device); training goes on" in warning


REFUSING = '''
from hieraseg import registry


@registry.trackers.register("refusing")
class Refusing:
    """Refuses its arguments, or writes how it ends.

    Args:
        folder: the run folder.
        refuses: whether it refuses.
    """

    def __init__(self, folder, refuses: bool = True):
        self.path = folder / "ended"
        if refuses:
            raise ValueError("no key")

    def log_hyperparams(self, params):
        pass

    def log_metrics(self, metrics, step):
        pass

    def finalize(self, status):
        self.path.write_text(status)
'''


def test_a_tracker_that_refuses_its_arguments_ends_the_run(tmp_path: Path, capfd: Captured) -> None:
    """As one that failed: its folder is unlocked and says why, and its other trackers end."""
    plugin = tmp_path / "refusing.py"
    plugin.write_text(REFUSING)
    named = "trackers: [{name: refusing, refuses: false}, refusing]"
    recipe = write_oracle_recipe(tmp_path, f"plugins: [{plugin}]\n{named}\n")
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 2
    problem = f"{recipe}:3: trackers: refusing: no key"
    assert problem in capfd.readouterr().err
    (folder,) = map(RunFolder, tmp_path.glob("runs/*/*"))
    assert not folder.lock.exists()
    assert read_json(folder.failure) == {"state": "failed", "message": problem}
    assert (folder.path / "ended").read_text() == "failed"


def test_a_tracker_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Else `curves.csv` would have each row twice."""
    assert main(["validate", "quickstart", "--trackers", "[csv, tensorboard, {name: csv}]"]) == 2
    problem = "command line: trackers[2]: csv is in the list already; remove it\n"
    assert capsys.readouterr().out == problem
    other = "[csv, {name: mlflow, experiment: a}, {name: mlflow, experiment: b}]"
    assert main(["validate", "quickstart", "--trackers", other]) == 0


class Rude:
    """A tracker that changes what it is told, and then ends the process."""

    def __init__(self, folder: Path) -> None:
        self.told = 0

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        metrics.clear()
        self.told += 1
        if self.told > 1:
            raise SystemExit(3)


def test_a_tracker_cannot_change_what_others_get_or_end_the_run(
    tmp_path: Path, capfd: Captured
) -> None:
    trackers = Trackers([spec(Rude), spec(Recording)], tmp_path)
    for step in (1, 2):
        trackers.log_metrics({"loss/total": 1.0}, step)
    assert made[0].calls[1:] == [("metrics", {"loss/total": 1.0}, step) for step in (1, 2)]
    assert "tracker Rude: fails (3); training goes on without it" in capfd.readouterr().err


def test_a_tracker_that_cannot_begin_is_left_out(tmp_path: Path, capfd: Captured) -> None:
    (tmp_path / "tensorboard").touch()  # in the place of its folder
    trackers = Trackers([spec(registry.trackers.get("tensorboard")), spec(Recording)], tmp_path)
    trackers.log_metrics({"loss/total": 1.0}, 1)
    trackers.finalize("success")
    (warning,) = capfd.readouterr().err.splitlines()
    assert "tracker TensorBoard: fails (" in warning
    assert len(made[0].calls) == 3


def test_a_folder_that_is_removed_ends_the_curves(tmp_path: Path, capfd: Captured) -> None:
    """The thread of TensorBoard meets the error, and any later call reports it."""
    trackers = Trackers([spec(registry.trackers.get("tensorboard"))], tmp_path)
    trackers.log_metrics({"loss/total": 1.0}, 1)
    (tmp_path / "tensorboard").rename(tmp_path / "elsewhere")  # while the thread still writes
    for step in range(200):
        trackers.log_metrics({"loss/total": 1.0}, step)
        trackers.log_image("val/a", np.zeros((8, 8, 3), np.uint8), step)
    trackers.finalize("success")
    (warning,) = capfd.readouterr().err.splitlines()
    assert "tracker TensorBoard: fails (No such file" in warning


@pytest.mark.parametrize("logger", [CSVLogger, TensorBoardLogger])
def test_loggers_of_lightning_are_trackers(
    logger: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.chdir(tmp_path)

    def made_by_library(folder: Path) -> Any:
        return logger(folder, name="library", version=0)

    trackers = Trackers([spec(made_by_library)], tmp_path)
    trackers.log_hyperparams(load("quickstart"))
    trackers.log_metrics({"loss/total": 1.0}, 1)
    trackers.log_image("val/a", np.zeros((8, 8, 3), np.uint8), 1)
    trackers.finalize("success")
    assert list((tmp_path / "library").rglob("*"))
    assert not capfd.readouterr().err


def test_a_run_without_working_trackers_has_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", full)
    recipe = write_oracle_recipe(tmp_path, "trackers: [tensorboard]\n")
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 0
    (result,) = tmp_path.glob("runs/*/*/result.json")
    assert read_json(result)["splits"]["val"]["levels"][0]["miou"] == 1
    error = capfd.readouterr().err
    assert error.count("tracker tensorboard: fails (No space left on device)") == 1
    assert "Traceback" not in error


def test_a_missing_package_is_said_before_the_run(tmp_path: Path, capfd: Captured) -> None:
    plugin = tmp_path / "needy.py"
    plugin.write_text(
        "from hieraseg import registry\n\n\n"
        '@registry.trackers.register("needy")\n'
        'class Needy:\n    """Needs a package."""\n\n    requires = {"no_such_module": "no-such"}\n'
    )
    changes = f"plugins: [{plugin}]\ntrackers: [tensorboard, needy]\n"
    recipe = write_oracle_recipe(tmp_path, changes)
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 2
    assert (
        f"{recipe}:3: trackers[1]: needy needs the package no_such_module; `pip install 'no-such'`"
        in capfd.readouterr().err
    )
    assert not (tmp_path / "runs").exists()


def test_recipes_of_older_runs(tmp_path: Path, capfd: Captured) -> None:
    """They say in `logging` whether there is TensorBoard; others are told what to write."""
    recipe = Path(write_oracle_recipe(tmp_path, "logging: {tensorboard: false, images: 2}\n"))
    assert main(["validate", str(recipe)]) == 2
    out = capfd.readouterr().out
    assert f"{recipe}:2: logging.tensorboard: is the section `trackers` now, as in" in out
    base = (tmp_path / "oracle_base.yaml").read_text().replace("trackers: []\n", "")
    for written, expected in (("true", ["tensorboard"]), ("false", [])):
        recipe.write_text(f"{base}logging: {{tensorboard: {written}, images: 2}}\n")
        (tmp_path / "provenance.json").write_text(json.dumps({}))
        found = load(recipe)
        assert [one.name for one in found.listed("trackers")] == expected
        assert found.logging.images == 2
