"""Weights & Biases, offline."""

import json
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hieraseg import registry
from hieraseg.testing import TrackerContract
from hieraseg_plugins.trackers.wandb_file import read_history

pytestmark = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
WandB = registry.trackers.get("wandb")


@pytest.mark.slow  # each starts a process
class TestWandB(TrackerContract):
    component = WandB


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "my_recipe" / "base-seed0"
    path.mkdir(parents=True)
    return path


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows that `wandb sync` would upload, in the order of writing."""
    return [
        {name: json.loads(value) for name, value in row.items()} for _, row in read_history(folder)
    ]


def end(tracker: Any, folder: Path, rows: int) -> None:
    """End a run, and wait for the process of W&B, which writes a moment later."""
    tracker.finalize("aborted")
    deadline = time.monotonic() + 30
    while len(history(folder)) < rows and time.monotonic() < deadline:
        time.sleep(0.01)


def points(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in history(folder) if name in row]


def test_a_run_that_goes_on_has_no_point_twice(folder: Path) -> None:
    tracker = WandB(folder)
    first = tracker.run.id
    tracker.log_hyperparams({"training.epochs": 3})
    for step in (10, 20, 30):
        tracker.log_metrics({"loss/total": step}, step)
        tracker.log_image("val/a", [np.zeros((8, 12, 3), np.uint8)], step)
    end(tracker, folder, rows=6)
    tracker = WandB(folder, after_step=20)
    assert (tracker.run.id, tracker.run.project) == (first, "my_recipe")
    tracker.log_hyperparams({"training.epochs": 4})
    for step in (30, 40):
        tracker.log_metrics({"loss/total": step}, step)
        tracker.log_image("val/a", [np.zeros((8, 12, 3), np.uint8)], step)
    tracker.log_metrics({"best/miou_level_1": 0.25}, 40)
    end(tracker, folder, rows=9)
    assert points(folder, "loss/total") == [(10, 10), (20, 20), (30, 30), (40, 40)]
    assert points(folder, "best/miou_level_1") == [(40, 0.25)]
    assert [number for number, _ in read_history(folder)] == list(range(9))
    assert len(list(folder.glob("wandb/offline-run-*/files/media/images/val/*.png"))) == 4


@pytest.mark.slow
def test_what_was_not_on_the_disk_is_logged_again(folder: Path) -> None:
    """After a power cut, say, where the end of the file is missing, in the middle of a row."""
    tracker = WandB(folder)
    for step, letter in ((10, "x"), (20, "y")):
        tracker.log_metrics({"loss/total": step, "long": 40_000 * letter}, step)
    end(tracker, folder, rows=2)
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    content = file.read_bytes()
    file.unlink()  # whatever may still be written to it
    file.write_bytes(content[: content.index(b"yyyy") + 100])
    assert points(folder, "loss/total") == [(10, 10)]
    tracker = WandB(folder, after_step=10)
    tracker.log_metrics({"loss/total": 20}, 20)
    end(tracker, folder, rows=2)
    assert points(folder, "loss/total") == [(10, 10), (20, 20)]
    assert [number for number, _ in read_history(folder)] == [0, 2]


@pytest.mark.slow
def test_a_run_whose_files_were_uploaded_and_removed_goes_on(folder: Path) -> None:
    """The rows of `wandb sync` are counted on, since W&B leaves out those that come again."""
    tracker = WandB(folder)
    first = tracker.run.id
    tracker.log_metrics({"loss/total": 1}, 10)
    end(tracker, folder, rows=1)
    shutil.move(folder / "wandb", folder / "uploaded")
    tracker = WandB(folder, after_step=10)
    tracker.log_metrics({"loss/total": 2}, 20)
    end(tracker, folder, rows=1)
    assert tracker.run.id == first
    assert [(number, row["step"]) for number, row in read_history(folder)] == [(1, "20")]
