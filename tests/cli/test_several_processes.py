"""Runs of several processes: the numbers of one, and failures of a single process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.kills import outcome
from safetensors.torch import load_file

from hieraseg.cli import main
from hieraseg.runs.checkpoint import read_state
from tests.support.processes import write_recipe
from tests.support.runs import read_json, read_metrics

Captured = pytest.CaptureFixture[str]
TWO = ("--training.devices", "2")
SIZES = (
    *("--data.train_images", "9", "--data.val_images", "3", "--optimizer.momentum", "0.9"),
    *("--loss", "odd", "--loss.step", "1000"),
)
"""Two epochs of two steps, an odd number of images to validate, and a loss like another."""


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of hieraseg, with one thread per process."""
    limited = ["env", "OMP_NUM_THREADS=1", sys.executable, "-m", "hieraseg", *words]
    return subprocess.run(limited, capture_output=True, text=True, timeout=300)


def run(folder: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    """Run the recipe of `tests.support.processes` as a command."""
    recipe, out = write_recipe(folder), str(folder / "runs")
    return command("run", recipe, *overrides, "--out", out)


def last_weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return load_file(run_folder / "checkpoints/last/model.safetensors")


def assert_same_but_for_rounding(found: Path, expected: Path) -> None:
    """The tolerance is that of docs/training.md. Predictions are the same in these runs."""
    for one, other in zip(read_metrics(found), read_metrics(expected), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["terms"] == pytest.approx(other["terms"], rel=1e-5)
        assert one["train"] == other["train"]
        assert one["val"] == other["val"]
    torch.testing.assert_close(last_weights(found), last_weights(expected), rtol=1e-4, atol=1e-6)
    results = [read_json(folder / "result.json")["splits"]["val"] for folder in (found, expected)]
    ious = [[level["iou"] for level in result["levels"]] for result in results]
    assert ious[0] == ious[1]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    folder = tmp_path_factory.mktemp("single")
    assert main(["run", write_recipe(folder), *SIZES, "--out", str(folder / "runs")]) == 0
    return next(folder.glob("runs/*/*"))


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run of two processes, which then do that of another seed."""
    folder = tmp_path_factory.mktemp("double")
    done = run(folder, *SIZES, *TWO, "--seeds", "0", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("coherence") == 2, "the first process prints the result of each seed"
    assert "batch normalization" not in done.stderr, "this model has none"
    return next(folder.glob("runs/*/*-seed0"))


def test_two_processes_train_as_one(single: Path, double: Path) -> None:
    """Images are nearly void, noisy and reflected."""
    assert_same_but_for_rounding(double, single)


@pytest.mark.slow
def test_two_processes_clip_and_average_as_one_also_in_parts(tmp_path: Path) -> None:
    """Of three images, one process has one, and so a single part."""
    toolkit = ("--training.clip_norm", "0.5", "--training.ema", "0.9")
    for images in ("9", "3"):
        folders = [tmp_path / f"{images}-{name}" for name in ("one", "two")]
        for folder, options in zip(
            folders, ((), (*TWO, "--training.accumulate", "2")), strict=True
        ):
            folder.mkdir()
            done = run(folder, *SIZES, *toolkit, *options, "--data.train_images", images)
            assert done.returncode == 0, done.stderr
        one, two = (next(folder.glob("runs/*/*")) for folder in folders)
        assert_same_but_for_rounding(two, one)
        for found, expected in zip(read_metrics(two), read_metrics(one), strict=True):
            assert found["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=1e-4)


def test_one_process_scores_as_two(double: Path, capsys: Captured) -> None:
    """The same weights have the same scores, to the last bit."""
    assert main(["evaluate", str(double), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    expected = read_json(double / "result.json")["splits"]["val"]
    common = {"levels", "coherence", "images"}
    assert {key: scores[key] for key in common} == {key: expected[key] for key in common}


def test_two_processes_stop_together_and_go_on(double: Path, single: Path, tmp_path: Path) -> None:
    """Only the command gets SIGTERM. With two processes the run then ends the same, bit by bit."""
    odd = ("--loss.how", "stop", "--loss.rank", "1", "--loss.step", "3")
    done = run(tmp_path, *SIZES, *TWO, *odd, "--checkpoints.every", "10 minutes")
    assert done.returncode == 75, done.stderr
    (stopped,) = tmp_path.glob("runs/*/*")
    assert done.stderr.count("interrupted in epoch 2 of 2") == 1
    assert f"go on with `hieraseg resume {stopped}`" in done.stderr
    assert read_state(stopped / "checkpoints/last")["progress"]["step"] == 3
    alone = shutil.copytree(stopped, tmp_path / "alone")
    done = command("resume", str(stopped))
    assert done.returncode == 0, done.stderr
    assert outcome(stopped) == outcome(double)
    assert main(["resume", str(alone), "--training.devices", "1"]) == 0
    assert_same_but_for_rounding(alone, single)


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        pytest.param(
            *("data", 3, "hieraseg: error: process 1: x.jpg: is damaged; copy it again"),
            marks=pytest.mark.slow,
        ),
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


@pytest.mark.slow
def test_the_first_process_alone_says_why_training_diverged(tmp_path: Path) -> None:
    """The other one waits, and computes no loss with it."""
    done = run(tmp_path, *TWO, "--loss", "odd", "--loss.how", "nan")
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("error") == 1
    assert "training diverged in epoch 2, step 2" in done.stderr
    assert "the gradient is not finite" in done.stderr, "this loss fails once"


PROGRAM = """
import atexit, os, sys
from pathlib import Path

def count():
    tasks = Path("/proc/self/task").iterdir()
    print(sum("gloo" in (task / "comm").read_text() for task in tasks), flush=True)
    os._exit(0)

atexit.register(count)  # the first to be registered is the last to be called

from hieraseg.recipe import load
from hieraseg.train import train

train(load(sys.argv[1], [("training.devices", "2")], []), Path(sys.argv[2]), "base")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
def test_no_thread_of_gloo_is_left_when_a_program_ends(tmp_path: Path) -> None:
    """It could abort while Python takes itself apart."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = [sys.executable, str(program), write_recipe(tmp_path), str(tmp_path / "runs")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "0"], "two processes, and the one that starts them"


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
