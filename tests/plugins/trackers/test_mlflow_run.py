"""MLflow, with a store in a folder.

Its import replaces `importlib.metadata`, so all but one of these tests are run in another process.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hieraseg import registry
from hieraseg.testing import TrackerContract

HERE = Path(__file__)
HAS_CHECKS = "tests.support.shapes" in sys.modules  # the process that runs the other tests
pytestmark = [
    pytest.mark.slow,  # its import takes seconds
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]
elsewhere = pytest.mark.skipif(HAS_CHECKS, reason="by test_in_a_process_of_its_own")
MLflow = registry.trackers.get("mlflow")


def test_in_a_process_of_its_own() -> None:
    if not HAS_CHECKS:
        pytest.skip("this is the process")
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-m", "", str(HERE)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.fixture(autouse=True)
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/store")


@pytest.fixture
def store() -> Any:
    """A client of the store that the tracker writes to."""
    from mlflow import MlflowClient

    return MlflowClient()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "my_recipe" / "base-seed0"
    path.mkdir(parents=True)
    return path


def only_run(store: Any) -> Any:
    experiment = store.get_experiment_by_name("my_recipe")
    (run,) = store.search_runs([experiment.experiment_id])
    return run


@elsewhere
class TestMLflow(TrackerContract):
    component = MLflow


@elsewhere
def test_a_run_of_the_experiment_of_its_recipe(store: Any, folder: Path) -> None:
    tracker = MLflow(folder)
    tracker.log_hyperparams({f"key.{index}": index for index in range(150)})
    tracker.log_metrics({"loss/total": 0.5, "iou_level_3/a, b(c)": 0.25}, 10)
    tracker.log_image("val/a", [np.zeros((8, 12, 3), np.uint8)], 10)
    tracker.finalize("success")
    run = only_run(store)
    assert run.info.run_name == "base-seed0"
    assert run.info.status == "FINISHED"
    assert len(run.data.params) == 150
    assert run.data.metrics == {"loss/total": 0.5, "iou_level_3/a_ b_c_": 0.25}
    (picture,) = store.list_artifacts(run.info.run_id, "val/a")
    assert picture.path == "val/a/step_0000010.png"


@elsewhere
def test_a_run_that_goes_on_has_no_point_twice(store: Any, folder: Path) -> None:
    tracker = MLflow(folder)
    tracker.log_hyperparams({"training.epochs": 3})
    for step in (10, 20, 30):
        tracker.log_metrics({"loss/total": step}, step)
    tracker.finalize("aborted")
    tracker = MLflow(folder, after_step=20)
    tracker.log_hyperparams({"training.epochs": 4, "trackers": "[mlflow]"})
    for step in (30, 40):
        tracker.log_metrics({"loss/total": step}, step)
    tracker.log_metrics({"best/miou_level_1": 0.25}, 40)
    tracker.finalize("success")
    run = only_run(store)
    history = store.get_metric_history(run.info.run_id, "loss/total")
    assert sorted((one.step, one.value) for one in history) == [
        (10, 10),
        (20, 20),
        (30, 30),
        (40, 40),
    ]
    assert run.data.metrics["best/miou_level_1"] == 0.25
    assert run.data.params == {"training.epochs": "3", "trackers": "[mlflow]"}
