"""Components of third-party packages, whose metadata is on the path."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import catalogue
import pytest

from hieraseg.cli import main
from tests.support.runs import QUICKSTART

Captured = pytest.CaptureFixture[str]
LOSS = '''
import torch.nn.functional as F
from hieraseg import IGNORE_INDEX, Hierarchy, Loss


class LeafOnly(Loss):
    """Cross-entropy of the leaves.

    Args:
        hierarchy: the class tree.
        smoothing: label smoothing.
    """

    levels = "leaves"
    activation = "leaf_softmax"

    def __init__(self, hierarchy: Hierarchy, smoothing: float = 0.0) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, prediction, targets, progress):
        assert 0 <= progress < 1
        leaves = targets[:, -1]
        total = F.cross_entropy(prediction.logits[-1], leaves, reduction="sum",
                                ignore_index=IGNORE_INDEX, label_smoothing=self.smoothing)
        return {"leaf_ce": total / (leaves != IGNORE_INDEX).sum().clamp(min=1)}
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which a working and a broken package are installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "their_losses.py").write_text(LOSS)
    (site / "broken_losses.py").write_text("import a_module_that_is_not_there\n")
    for package, module, name in (
        ("theirs", "their_losses:LeafOnly", "leaf_only"),
        ("broken", "broken_losses:Anything", "broken"),
    ):
        metadata = site / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0")
        (metadata / "entry_points.txt").write_text(f"[hieraseg_losses]\n{name} = {module}\n")
    return site


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both packages are found by this process, as if it had been started with them."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(catalogue, "AVAILABLE_ENTRY_POINTS", entry_points())


def test_working_and_broken_packages_are_listed(site: Path) -> None:
    """A package that cannot be imported is listed with the reason, and breaks nothing else."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hieraseg", "list", "losses"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "leaf_only" in done.stdout
    assert "Cross-entropy of the leaves" in done.stdout
    assert "a_module_that_is_not_there" in done.stdout
    assert "tree_min" in done.stdout


def test_a_recipe_trains_with_the_package(
    installed: None, tmp_path: Path, capsys: Captured
) -> None:
    """Only a leaf head is built, all levels are scored, and `evaluate` gives the same scores."""
    arguments = ["run", QUICKSTART, "--out", str(tmp_path), "--json"]
    arguments += ["--loss", "leaf_only", "--loss.smoothing", "0.1", "--inference", "independent"]
    arguments += ["--data.image_size", "[64, 64]", "--input.size", "[64, 64]"]
    arguments += ["--data.train_images", "8", "--data.val_images", "2"]
    arguments += ["--backbone.weights", "null", "--training.batch_size", "4"]
    assert main([*arguments, "--training.max_steps", "2"]) == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert len(run["splits"]["val"]["levels"]) == 3
    assert main(["evaluate", run["run"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["levels"] == run["splits"]["val"]["levels"]


def test_a_recipe_with_the_broken_package(
    installed: None, tmp_path: Path, capsys: Captured
) -> None:
    """The error names the package and the reason, without a traceback; exit code 2."""
    assert main(["run", QUICKSTART, "--loss", "broken", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "broken_losses" in error
    assert "a_module_that_is_not_there" in error
