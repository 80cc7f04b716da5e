"""MLflow."""

import os
import platform
import re
import time
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from hieraseg.types import Pattern, check_arguments

_STATUS = {"success": "FINISHED", "failed": "FAILED", "aborted": "KILLED"}
_PLACE = "hieraseg.place"
"""Tag with the machine and the run folder, which is that of one run at a time."""
_LARGEST_BATCH = 100  # of settings that MLflow takes at once
# A server that does not answer keeps a run waiting for seconds, and not for minutes.
_WAITING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

_Address = Annotated[
    str,
    Pattern(
        r"(?!.*://[^/]*:.*@)(?!https?://[^/]*@)(?!.*[?&]password=).*",
        "an address without user and password, which the run folder would keep (set the "
        "environment variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or, for a "
        "database, MLFLOW_TRACKING_URI)",
        shows_value=False,
        name="address without password",
    ),
]


@check_arguments
class MLflow:
    """MLflow: curves, pictures and settings, in a local store or on a server.

    A run that goes on is the same run there: its id is in `mlflow_run` of the run folder. Points of
    later steps that are there already are not logged again. Where a run begins in the place of one
    that was killed before its first checkpoint, on the same machine, that one is closed as killed.

    Args:
        folder: the run folder, supplied by the runner.
        after_step: step from which the run goes on, supplied by the runner.
        tracking_uri: where to, as in `sqlite:///mlflow.db` or `http://localhost:5000`, without a
            password; null for MLflow's own choice: the environment variable MLFLOW_TRACKING_URI,
            or a file in the working directory.
        experiment: name of the experiment; null for that of the recipe.
    """

    requires: ClassVar = {"mlflow": "hieraseg[mlflow]"}

    def __init__(
        self,
        folder: Path,
        after_step: int = 0,
        tracking_uri: _Address | None = None,
        experiment: str | None = None,
    ) -> None:
        for key, value in _WAITING.items():
            os.environ.setdefault(key, value)
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri)
        self.logged: set[tuple[str, int]] = set()
        file = folder / "mlflow_run"
        if after_step and file.is_file():
            self.run = file.read_text(encoding="utf-8")
            self.client.update_run(self.run, status="RUNNING")
            self.logged = self._points(after_step)
        else:
            parent = _experiment(self.client, experiment or folder.parent.name)
            place = {_PLACE: f"{platform.node()}:{folder.resolve()}"}
            self._close_killed(parent, place)
            self.run = self.client.create_run(parent, run_name=folder.name, tags=place).info.run_id
            file.write_text(self.run, encoding="utf-8")

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Log the settings. Those that were logged before stay, since MLflow changes none."""
        from mlflow.entities import Param

        known = self.client.get_run(self.run).data.params
        new = [Param(key, str(value)) for key, value in params.items() if key not in known]
        for first in range(0, len(new), _LARGEST_BATCH):
            self.client.log_batch(self.run, params=new[first : first + _LARGEST_BATCH])

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log a point of each curve."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = {_key(name): value for name, value in metrics.items()}
        points = [
            Metric(key, value, now, step)
            for key, value in named.items()
            if (key, step) not in self.logged
        ]
        for first in range(0, len(points), _LARGEST_BATCH):
            self.client.log_batch(self.run, metrics=points[first : first + _LARGEST_BATCH])

    def log_image(self, key: str, images: list[UInt8[np.ndarray, "H W 3"]], step: int) -> None:
        """Log pictures as artifacts, with the step in their names."""
        for number, image in enumerate(images, 1):
            name = _key(key) if len(images) == 1 else f"{_key(key)}/{number}"
            self.client.log_image(self.run, image, artifact_file=f"{name}/step_{step:07d}.png")

    def finalize(self, status: str) -> None:
        """End the run."""
        self.client.set_terminated(self.run, _STATUS.get(status, "FAILED"))

    def _close_killed(self, experiment: str, place: dict[str, str]) -> None:
        """Close the run of a folder that was there before: no process can go on with it."""
        for run in self.client.search_runs([experiment], "attributes.status = 'RUNNING'"):
            if run.data.tags.get(_PLACE) == place[_PLACE]:
                self.client.set_terminated(run.info.run_id, "KILLED")

    def _points(self, first: int) -> set[tuple[str, int]]:
        """Name and step of the points from a step on."""
        return {
            (key, point.step)
            for key in self.client.get_run(self.run).data.metrics
            for point in self.client.get_metric_history(self.run, key)
            if point.step >= first
        }


def _experiment(client: Any, name: str) -> str:
    """Id of an experiment, which is made unless it exists."""
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _key(name: str) -> str:
    """A name with the characters that MLflow allows."""
    return re.sub(r"[^\w/. -]", "_", name)
