"""The example package, installed as a user would, in an environment of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environments import new_environment, run_module

EXAMPLE = Path(__file__).parents[1] / "examples/hieraseg-boundary-ce"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_environment(tmp_path_factory.mktemp("environment"), EXAMPLE)


def test_it_is_not_installed_here() -> None:
    """Else the other tests would show nothing."""
    command = [sys.executable, "-c", "import hieraseg_boundary_ce"]
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_it_is_listed_with_its_package(python: Path, tmp_path: Path) -> None:
    done = run_module(python, tmp_path, "hieraseg", "list", "--json")
    assert done.returncode == 0, done.stderr
    origin = json.loads(done.stdout)["losses"]["boundary_ce"]
    assert origin.startswith("hieraseg-boundary-ce (hieraseg_boundary_ce.boundary_ce:")


def test_its_own_tests_pass(python: Path) -> None:
    done = run_module(python, EXAMPLE, "pytest", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.slow  # its own tests run the same suite
def test_it_passes_the_check(python: Path, tmp_path: Path) -> None:
    done = run_module(python, tmp_path, "hieraseg", "check", "loss", "boundary_ce")
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_recipe_trains(python: Path, tmp_path: Path) -> None:
    words = ["run", str(EXAMPLE / "recipe.yaml"), "--out", str(tmp_path), "--json"]
    words += ["--data.image_size", "[64, 64]", "--input.size", "[64, 64]"]
    words += ["--data.train_images", "8", "--data.val_images", "2"]
    words += ["--backbone.weights", "null", "--training.batch_size", "4"]
    done = run_module(python, tmp_path, "hieraseg", *words, "--training.max_steps", "2")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    terms = json.loads((Path(result["run"]) / "metrics.jsonl").read_text())["terms"]
    assert set(terms) == {f"boundary_ce_level{level}" for level in (1, 2, 3)}
