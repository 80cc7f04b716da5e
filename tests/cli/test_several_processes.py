"""Runs of several processes: the numbers of one, and failures of a single process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hieraseg.cli import main
from tests.support.processes import write_recipe
from tests.support.runs import read_json, read_metrics

Captured = pytest.CaptureFixture[str]
TWO = ("--training.devices", "2")


def run(folder: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    """Run the recipe of `tests.support.processes` as a command, with one thread per process."""
    words = [sys.executable, "-m", "hieraseg", "run", write_recipe(folder), *overrides]
    limited = ["env", "OMP_NUM_THREADS=1", *words, "--out", str(folder / "runs")]
    return subprocess.run(limited, capture_output=True, text=True, timeout=300)


def test_two_processes_train_and_score_as_one(tmp_path: Path) -> None:
    """Images are nearly void, noisy and reflected; there is one validation image for both."""
    single, double = tmp_path / "single", tmp_path / "double"
    for folder in (single, double):
        folder.mkdir()
    sizes = ("--data.train_images", "9")
    assert main(["run", write_recipe(single), *sizes, "--out", str(single / "runs")]) == 0
    done = run(double, *sizes, *TWO, "--seeds", "0", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("coherence") == 2, "the first process prints the result of each seed"
    assert "batch normalization" not in done.stderr, "this model has none"
    (one,), (two,) = single.glob("runs/*/*-seed0"), double.glob("runs/*/*-seed0")
    for expected, found in zip(read_metrics(one), read_metrics(two), strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert found["terms"] == pytest.approx(expected["terms"], rel=1e-5)
        assert found["train"] == expected["train"]
        assert found["val"] == expected["val"]
    weights = [load_file(folder / "checkpoints/last/model.safetensors") for folder in (one, two)]
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)
    results = [read_json(folder / "result.json")["splits"]["val"] for folder in (one, two)]
    ious = [[level["iou"] for level in result["levels"]] for result in results]
    assert ious[0] == ious[1]


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("data", 3, "hieraseg: error: process 1: x.jpg: is damaged; copy it again"),
        ("kill", 137, "hieraseg: error: process 1 was killed by SIGKILL; the others were ended"),
    ],
)
def test_a_failure_of_one_process_is_said_once(
    tmp_path: Path, how: str, code: int, message: str
) -> None:
    done = run(tmp_path, *TWO, "--loss", "odd", "--loss.how", how, "--loss.rank", "1")
    assert done.returncode == code, done.stderr
    assert [line for line in done.stderr.splitlines() if "error" in line.lower()] == [message]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


SLURM = {
    "SLURM_JOB_ID": "5",
    "SLURM_JOB_NAME": "train",
    "SLURM_NODELIST": "node1",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "WORLD_SIZE": "4",
    "RANK": "3",
    "LOCAL_RANK": "3",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29511",
}
BY_HAND = {key: value for key, value in TORCHRUN.items() if key != "TORCHELASTIC_RUN_ID"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (SLURM, "SLURM has started (SLURM_NTASKS=1"),
        ({**SLURM, "SLURM_NTASKS": "2"}, "SLURM has started (SLURM_NTASKS=2"),
        ({**SLURM, "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "x"}, "SLURM_NTASKS_PER_NODE=x"),
        (TORCHRUN, "torchrun has started (TORCHELASTIC_RUN_ID=none, WORLD_SIZE=4"),
        (BY_HAND, "another program has started (LOCAL_RANK=3, WORLD_SIZE=4"),
    ],
)
def test_launchers_that_do_not_fit_the_recipe(
    variables: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["run", write_recipe(tmp_path), "--out", str(tmp_path), *TWO]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("variables", [SLURM, TORCHRUN, BY_HAND, {"LOCAL_RANK": "1"}])
def test_variables_of_launchers_do_not_matter_to_one_process(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    recipe = write_recipe(tmp_path)
    assert main(["run", recipe, "--out", str(tmp_path / "runs"), "--training.max_steps", "1"]) == 0
    out, err = capsys.readouterr()
    assert "coherence" in out
    assert "epoch 1/2" in err
    assert ("this process trains alone" in err) == ("WORLD_SIZE" in variables)
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert main(["evaluate", str(folder)]) == 0
    assert "coherence" in capsys.readouterr().out
    assert main(["predict", str(tmp_path), "x.jpg", "--out", str(tmp_path / "out")]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_more_processes_than_training_images(tmp_path: Path) -> None:
    """All of them refuse, and the first one says so."""
    done = run(tmp_path, *TWO, "--data.train_images", "1")
    assert done.returncode == 2, done.stderr
    assert "2 processes need at least as many images, but the split train has 1" in done.stderr
    assert done.stderr.count("error") == 1
