"""A run that is killed between what its trackers log and the checkpoint."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hieraseg_plugins.trackers.wandb_file import read_history
from tests.support.oracle import PLUGIN, write_oracle_recipe
from tests.support.runs import read_metrics

KILLER = """
import os
import signal

from hieraseg import registry


@registry.trackers.register("killer")
class Killer:
    def __init__(self):
        self.validations = 0

    def log_hyperparams(self, params):
        pass

    def log_metrics(self, metrics, step):
        self.validations += 1
        if self.validations == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def finalize(self, status):
        pass
"""
HISTORY = """
import sys
from mlflow import MlflowClient

client = MlflowClient()
for point in client.get_metric_history(sys.argv[1], "loss/train"):
    print(point.step)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("mlflow") is None or find_spec("wandb") is None, reason="needs MLflow and W&B"
)
def test_no_point_is_lost_and_none_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    recipe = write_oracle_recipe(
        tmp_path,
        f"plugins: [{PLUGIN}, killer.py]\ntraining: {{epochs: 3, max_steps: null}}\n"
        "trackers: [tensorboard, csv, wandb, mlflow, killer]\n",
    )
    environment = {
        **os.environ,
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_TRACKING_URI": f"file:{tmp_path}/store",
        "WANDB_CACHE_DIR": str(tmp_path / "cache"),
    }

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    run = tmp_path / "runs/oracle/base-seed0"
    killed = python("-m", "hieraseg", "run", recipe, "--out", str(tmp_path / "runs"))
    assert killed.returncode == -9, killed.stderr
    others = "[tensorboard, csv, wandb, mlflow]"
    resumed = python("-m", "hieraseg", "resume", str(run), "--trackers", others)
    assert resumed.returncode == 0, resumed.stderr

    steps = [record["step"] for record in read_metrics(run)]
    assert len(steps) == 3
    rows = list(read_history(run))
    assert [number for number, _ in rows] == sorted({number for number, _ in rows})
    for name in ("loss/train", "miou/val_level_1"):
        assert [json.loads(row["step"]) for _, row in rows if name in row] == steps
    history = python("-c", HISTORY, (run / "mlflow_run").read_text())
    assert [int(step) for step in history.stdout.split()] == steps, history.stderr
    lines = (run / "curves.csv").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in lines[1:]] == steps
