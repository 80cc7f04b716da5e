"""TensorBoard's trouble: training goes on without curves, after one warning."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hieraseg.cli import main
from hieraseg.recipe import load
from hieraseg.training.trackers import TensorBoard
from tests.support.oracle import write_oracle_recipe
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]
SCORES: dict[str, Any] = {"levels": [{"level": 1, "miou": 0.5}], "coherence": None}
RECORD: dict[str, Any] = {
    "epoch": 1,
    "loss": 1.0,
    "learning_rate": 0.1,
    "images_per_second": 9.0,
    "terms": {"ce": 1.0},
    "train": SCORES,
    "val": SCORES,
}


def test_a_folder_that_is_removed_ends_the_curves(tmp_path: Path, capfd: Captured) -> None:
    """The thread that writes meets the error, and any later call reports it."""
    folder = tmp_path / "tensorboard"
    tracker = TensorBoard(folder)
    tracker.add_epoch(RECORD)
    folder.rename(tmp_path / "elsewhere")  # in one step, since the thread still writes
    for _ in range(200):
        tracker.add_epoch(RECORD)
        tracker.add_figure("val/a", np.zeros((8, 8, 3), np.uint8), 1)
    tracker.close(load("quickstart"), SCORES)
    assert not tracker.is_open
    (warning,) = capfd.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {folder}: cannot be written (No such file")
    assert "training goes on without" in warning


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path, capfd: Captured) -> None:
    (tmp_path / "file").touch()
    tracker = TensorBoard(tmp_path / "file")
    tracker.add_epoch(RECORD)
    tracker.close(load("quickstart"), SCORES)
    (warning,) = capfd.readouterr().err.splitlines()
    assert "file: cannot be written (" in warning


def test_a_run_goes_on_without_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hieraseg.training.trackers.SummaryWriter", full)
    recipe = write_oracle_recipe(tmp_path, "logging: {tensorboard: true}\n")
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 0
    (result,) = tmp_path.glob("runs/*/*/result.json")
    assert read_json(result)["splits"]["val"]["levels"][0]["miou"] == 1
    error = capfd.readouterr().err
    assert error.count("cannot be written (No space left on device)") == 1
    assert "Traceback" not in error
