"""`hieraseg run`: training, the run folder, several processes, and failures."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hieraseg.cli import main
from hieraseg.recipe import load
from tests.support.runs import QUICKSTART, SMALL, read_json, read_metrics, run_recipe
from tests.support.trees import cuda

COMMAND = [sys.executable, "-m", "hieraseg"]
Captured = pytest.CaptureFixture[str]


def test_run_folder_is_complete(trained_run: Path) -> None:
    """The run folder has all files of the design, and they agree with each other."""
    result = read_json(trained_run / "result.json")
    levels = result["splits"]["val"]["levels"]
    assert [level["level"] for level in levels] == [1, 2, 3]
    assert set(levels[1]["iou"]) == {"background", "upper_body", "lower_body"}
    assert all(0 <= level["miou"] <= 1 for level in levels)
    assert result["splits"]["val"]["coherence"] == 1  # best_path
    assert result["cost"]["steps"] == 6

    epochs = read_metrics(trained_run)
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    best = max(epochs, key=lambda epoch: epoch["val"]["levels"][-1]["miou"])
    # The result has more scores of the same weights: those that take too long for every epoch.
    for of_epoch, of_result in zip(best["val"]["levels"], levels, strict=True):
        assert {**of_result, **of_epoch} == of_result
        assert 0 <= of_result["classwise_ece"] <= 1
        assert set(of_result["boundary_iou"]) == set(of_result["iou"])

    provenance = read_json(trained_run / "provenance.json")
    assert provenance["seed"] == 0
    assert provenance["data"]["val"] == result["splits"]["val"]["data"]
    assert [plugin["name"] for plugin in provenance["plugins"]["loss"]] == ["tree_min"]

    with np.load(trained_run / "evaluation/val.npz", allow_pickle=False) as counts:
        assert counts["ids"].tolist() == [f"val-{index:05d}" for index in range(5)]
        assert counts["pixels"].tolist() == [64 * 64] * 5
        assert counts["truth_3"].sum() == 5 * 64 * 64
    assert list((trained_run / "tensorboard").iterdir())
    for which in ("best", "last"):
        assert load_file(trained_run / "checkpoints" / which / "model.safetensors")


def test_resolved_recipe_gives_the_same_run(trained_run: Path, tmp_path: Path) -> None:
    """The recipe in a run folder can be run, and gives the same numbers."""
    assert load(trained_run / "recipe.yaml").training.epochs == 2
    assert main(["run", str(trained_run / "recipe.yaml"), "--out", str(tmp_path)]) == 0
    again = next(tmp_path.glob("*/*/metrics.jsonl")).parent
    for one, other in zip(read_metrics(trained_run), read_metrics(again), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["val"]["images"] == other["val"]["images"]


def test_one_run_per_seed(tmp_path: Path, capsys: Captured) -> None:
    """`--seeds` trains once per seed, and `compare` puts the runs of a recipe into one row."""
    arguments = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL, "--training.max_steps", "1"]
    assert main([*arguments, "--seeds", "3", "4", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [Path(run["run"]).name.rsplit("-", 1)[1] for run in runs] == ["seed3", "seed4"]
    losses = [read_metrics(Path(run["run"]))[0]["loss"] for run in runs]
    assert losses[0] != losses[1]
    scores = [run["splits"]["val"]["levels"][2]["miou"] for run in runs]
    assert main(["compare", QUICKSTART, "--runs", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["seeds"] == [3, 4]
    assert row["mIoU L3"] == scores


def test_training_learns(tmp_path: Path) -> None:
    """On four images, the loss falls by more than half and the classes are found."""
    folder = run_recipe(
        tmp_path,
        *("--data.train_images", "4", "--training.epochs", "40", "--decoder.width", "256"),
        *("--data.val_images", "1", "--checkpoints.every", "null"),
        *("--backbone.weights", "imagenet", "--optimizer.backbone_lr_multiplier", "1"),
        *("--loss", "weighted_ce"),
        *("--augmentation.crop", "0", "--augmentation.affine", "0"),
        *("--augmentation.transforms", "[]"),
        *("--trackers", "[]", "--optimizer.lr", "3e-3"),
    )
    epochs = read_metrics(folder)
    assert epochs[-1]["loss"] < 0.5 * epochs[0]["loss"]
    assert epochs[-1]["train"]["levels"][0]["miou"] > 0.65


def test_runs_are_never_overwritten(trained_run: Path, tmp_path: Path) -> None:
    """Runs with the same name are numbered."""
    earlier = tmp_path / trained_run.parent.name / trained_run.name
    shutil.copytree(trained_run, earlier)
    before = (earlier / "result.json").read_bytes()
    for _ in range(2):
        run_recipe(tmp_path, "--training.epochs", "2")
    name = earlier.name.removesuffix("-seed0")
    folders = sorted(path.name for path in earlier.parent.iterdir())
    assert folders == [f"{name}-run2-seed0", f"{name}-run3-seed0", f"{name}-seed0"]
    assert (earlier / "result.json").read_bytes() == before


def test_logging_can_be_disabled(tmp_path: Path, trained_run: Path, capsys: Captured) -> None:
    """Without event files and checkpoints the scores are the same, and none is left out.

    `evaluate` then reports the missing checkpoint.
    """
    disabled = ("--trackers", "[]", "--checkpoints.every", "null")
    folder = run_recipe(tmp_path, "--training.epochs", "2", *disabled)
    assert (
        read_json(folder / "result.json")["splits"]
        == read_json(trained_run / "result.json")["splits"]
    )
    assert not (folder / "tensorboard").exists()
    assert not (folder / "checkpoints").exists()
    assert main(["evaluate", str(folder)]) == 2
    assert "no such checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    "overrides", [["--input.size", "[32, 32]"], ["--decoder", "pan"]], ids=["one pixel", "pooled"]
)
def test_batch_that_cannot_be_normalized(
    overrides: list[str], tmp_path: Path, capsys: Captured
) -> None:
    """A batch of one image with one pixel in a feature map has one value per channel."""
    arguments = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL, *overrides]
    assert main([*arguments, "--training.batch_size", "1"]) == 2
    problem = capsys.readouterr().err
    assert "increase training.batch_size, or input.size unless the decoder pools" in problem


@pytest.mark.slow
def test_two_processes_share_the_work(tmp_path: Path) -> None:
    """They train one model, and score each image of an uneven split once."""
    arguments = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL]
    arguments += ["--training.max_steps", "2", "--training.devices", "2"]
    arguments += ["--training.device", "cpu", "--seeds", "0", "1", "--json"]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [Path(result["run"]).name[-5:] for result in results] == ["seed0", "seed1"]
    for result in results:
        assert result["cost"]["processes"] == 2
        with np.load(Path(result["run"]) / "evaluation/val.npz", allow_pickle=False) as counts:
            assert counts["pixels"].tolist() == [64 * 64] * 5
    # The saved weights are the scored ones, although each process has its own batch statistics
    # during training.
    assert main(["evaluate", results[0]["run"]]) == 0
    scored = read_json(Path(results[0]["run"]) / "result.json")["splits"]["val"]
    for one, other in zip(scored["levels"], results[0]["splits"]["val"]["levels"], strict=True):
        assert one["iou"] == pytest.approx(other["iou"], abs=1e-3)


def test_divergence(tmp_path: Path, capsys: Captured) -> None:
    """A loss that is not finite ends the run with exit code 4, and keeps the run folder."""
    arguments = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL, "--optimizer", "sgd"]
    assert main([*arguments, "--optimizer.lr", "1e30", "--schedule.warmup", "0"]) == 4
    assert "diverged in epoch" in capsys.readouterr().err
    assert list(tmp_path.glob("*/*/recipe.yaml"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_requested_but_missing(tmp_path: Path, capsys: Captured) -> None:
    """One sentence, and no run folder."""
    arguments = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL, "--training.device", "cuda"]
    assert main(arguments) == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "precision", [pytest.param(one, marks=cuda) for one in ("32-true", "bf16-mixed", "16-mixed")]
)
def test_run_on_cuda(tmp_path: Path, precision: str) -> None:
    """Trains, scores and evaluates on a GPU in each precision."""
    overrides = ("--training.epochs", "2", "--training.device", "cuda")
    folder = run_recipe(tmp_path, *overrides, "--training.precision", precision)
    assert read_json(folder / "result.json")["cost"]["peak_memory_bytes"] > 0
    assert main(["evaluate", str(folder), "--device", "cuda"]) == 0


def test_class_tree_that_changed_after_the_run(tmp_path: Path) -> None:
    """The hash of a hierarchy file is recorded, and the run goes by its own copy."""
    tree = tmp_path / "tree.yaml"
    body = "tree: {background: null, body: {upper: [hand, torso, head, arm], lower: [shin, leg]}}\n"
    labels = "labels: [background, hand, torso, shin, head, leg, arm]\n"
    tree.write_text(body + labels + "background: background\n")
    section = f"{{name: file, path: {tree}}}"
    folder = run_recipe(tmp_path / "runs", "--hierarchy", section, "--training.max_steps", "1")
    recorded = read_json(folder / "provenance.json")["plugins"]["hierarchy"][0]["files"]
    assert recorded == {str(tree): hashlib.sha256(tree.read_bytes()).hexdigest()}
    tree.write_text((body + labels).replace("shin", "calf"))
    assert main(["evaluate", str(folder)]) == 0
    assert "shin" in read_json(folder / "result.json")["splits"]["val"]["levels"][-1]["iou"]


def test_loss_that_trains_no_class_scores(tmp_path: Path, capsys: Captured) -> None:
    """It cannot be the only loss, which is known before there is a run folder."""
    overrides = ["--loss", "tree_triplet", "--decoder", "linear"]
    small = [word for word in SMALL if word not in ("--decoder.width", "8")]
    assert main(["run", QUICKSTART, "--out", str(tmp_path), *small, *overrides]) == 2
    assert "loss: tree_triplet trains an embedding but no class scores" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
