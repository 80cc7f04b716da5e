"""Components of third-party packages, in a subprocess that has their metadata."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which a working and a broken package are installed."""
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
    return {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}


def hieraseg(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in an environment."""
    command = [sys.executable, "-m", "hieraseg"]
    return subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)


def test_working_and_broken_packages_are_listed(installed: dict[str, str]) -> None:
    """A package that cannot be imported is listed with the reason, and breaks nothing else."""
    done = hieraseg(installed, "list", "losses")
    assert done.returncode == 0, done.stderr
    assert "leaf_only" in done.stdout
    assert "Cross-entropy of the leaves" in done.stdout
    assert "a_module_that_is_not_there" in done.stdout
    assert "tree_min" in done.stdout


def test_a_recipe_trains_with_the_package(installed: dict[str, str], tmp_path: Path) -> None:
    """Only a leaf head is built, all levels are scored, and `evaluate` gives the same scores."""
    arguments = ["run", str(ROOT / "recipes/quickstart.yaml"), "--out", str(tmp_path), "--json"]
    arguments += ["--loss", "leaf_only", "--loss.smoothing", "0.1", "--inference", "independent"]
    arguments += ["--data.image_size", "[64, 64]", "--input.size", "[64, 64]"]
    arguments += ["--data.train_images", "8", "--data.val_images", "2"]
    arguments += ["--backbone.weights", "null", "--training.batch_size", "4"]
    done = hieraseg(installed, *arguments, "--training.max_steps", "2")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)
    assert len(run["splits"]["val"]["levels"]) == 3
    again = hieraseg(installed, "evaluate", run["run"], "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["levels"] == run["splits"]["val"]["levels"]


def test_a_recipe_with_the_broken_package(installed: dict[str, str], tmp_path: Path) -> None:
    """The error names the package and the reason, without a traceback; exit code 2."""
    recipe = str(ROOT / "recipes/quickstart.yaml")
    done = hieraseg(installed, "run", recipe, "--loss", "broken", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "broken_losses" in done.stderr
    assert "a_module_that_is_not_there" in done.stderr
