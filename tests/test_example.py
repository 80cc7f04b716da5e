"""The example package, installed as a user would, in an environment of its own."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples/hieraseg-boundary-ce"


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of a new environment that has the package, and sees what is installed here."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, symlinks=True)
    where = {"base": str(root), "platbase": str(root)}
    site = Path(sysconfig.get_path("purelib", "venv", where))
    here = sysconfig.get_path("purelib")
    (site / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    programs = Path(sysconfig.get_path("scripts", "venv", where))
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*pip, *options, str(EXAMPLE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return programs


def run(bin_folder: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m` with these words, in a folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(bin_folder / "python"), "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_it_is_not_installed_here() -> None:
    """Else the other tests would show nothing."""
    done = subprocess.run([sys.executable, "-c", "import hieraseg_boundary_ce"])
    assert done.returncode == 1


def test_it_is_listed_with_its_package(bin_folder: Path, tmp_path: Path) -> None:
    done = run(bin_folder, tmp_path, "hieraseg", "list", "--json")
    assert done.returncode == 0, done.stderr
    origin = json.loads(done.stdout)["losses"]["boundary_ce"]
    assert origin.startswith("hieraseg-boundary-ce (hieraseg_boundary_ce.boundary_ce:")


def test_its_own_tests_pass(bin_folder: Path) -> None:
    words = ("-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"))
    done = run(bin_folder, EXAMPLE, "pytest", *words)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_it_passes_the_check(bin_folder: Path, tmp_path: Path) -> None:
    done = run(bin_folder, tmp_path, "hieraseg", "check", "loss", "boundary_ce")
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_recipe_trains(bin_folder: Path, tmp_path: Path) -> None:
    words = ["run", str(EXAMPLE / "recipe.yaml"), "--out", str(tmp_path), "--json"]
    words += ["--data.size", "[64, 64]", "--data.train_images", "8", "--data.val_images", "2"]
    words += ["--backbone.weights", "null", "--training.batch_size", "4"]
    done = run(bin_folder, tmp_path, "hieraseg", *words, "--training.max_steps", "2")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    terms = json.loads((Path(result["run"]) / "metrics.jsonl").read_text())["terms"]
    assert set(terms) == {f"boundary_ce_level{level}" for level in (1, 2, 3)}
