"""MLflow, with a store in a folder."""

import json
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

from hieraseg import registry
from hieraseg.cli import main
from hieraseg.testing import TrackerContract
from hieraseg.types import violation

MLflow = registry.trackers.get("mlflow")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the store that the tracker writes to."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/store")
    # Its import replaces `importlib.metadata` by a package whose classes are others.
    finders, find = sys.meta_path[:], vars(PathFinder)["find_distributions"]
    from mlflow import MlflowClient

    sys.meta_path[:] = finders
    PathFinder.find_distributions = find  # type: ignore[method-assign]
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


needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


def test_a_password_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Before anything is written, since recipe and provenance would keep it."""
    trackers = json.dumps([{"name": "mlflow", "tracking_uri": "https://me:secret@host/x"}])
    out = tmp_path / "runs"
    assert main(["run", "quickstart", "--out", str(out), "--trackers", trackers]) == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert "trackers[0].tracking_uri: must be an address without user and password" in error
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in error
    assert "secret" not in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("uri", "is_accepted"),
    [
        ("sqlite:///a@b.db", True),
        ("http://localhost:5000", True),
        ("postgresql://me@host/x", True),
        ("file:/a:b@c", True),
        ("https://secret@host", False),
        ("postgresql://me:se/cret@host/x", False),
        ("postgresql://host/x?user=me&password=secret", False),
    ],
)
def test_addresses(uri: str, is_accepted: bool) -> None:
    hint = get_type_hints(MLflow.__init__, include_extras=True)["tracking_uri"]
    assert (violation(uri, hint) == "") == is_accepted


def test_what_an_address_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trackers = json.dumps([{"name": "mlflow", "tracking_uri": 3}])
    assert main(["validate", "quickstart", "--trackers", trackers]) == 2
    assert "expected an address without password" in capfd.readouterr().out


@needs_mlflow
@pytest.mark.slow
@pytest.mark.usefixtures("store")
class TestMLflow(TrackerContract):
    component = MLflow


@needs_mlflow
@pytest.mark.slow
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


@needs_mlflow
def test_a_run_that_goes_on_has_no_point_twice(store: Any, folder: Path) -> None:
    tracker = MLflow(folder)
    tracker.log_hyperparams({"training.epochs": 3})
    for step in (10, 20, 30):
        tracker.log_metrics({"loss/total": step}, step)
    tracker.finalize("aborted")
    tracker = MLflow(folder, after_step=20)
    tracker.log_hyperparams({"training.epochs": 4, "trackers": "[mlflow]"})
    for step in (30, 40):
        tracker.log_metrics({"loss/total": step, "loss (val)": step}, step)
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
    late = store.get_metric_history(run.info.run_id, "loss _val_")
    assert [one.step for one in late] == [30, 40], "a batch that was not written is logged again"
    assert run.data.metrics["best/miou_level_1"] == 0.25
    assert run.data.params == {"training.epochs": "3", "trackers": "[mlflow]"}


@needs_mlflow
def test_a_run_in_the_place_of_a_killed_one_closes_it(store: Any, folder: Path) -> None:
    """Those of other folders go on."""
    other = folder.with_name("base-seed1")
    other.mkdir()
    running, killed = MLflow(other).run, MLflow(folder).run
    again = MLflow(folder)
    again.finalize("success")
    status = {run: store.get_run(run).info.status for run in (running, killed, again.run)}
    assert status == {running: "RUNNING", killed: "KILLED", again.run: "FINISHED"}
