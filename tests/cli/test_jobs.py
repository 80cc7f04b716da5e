"""The four jobs through the command line, on a small run of the embedded data."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from hieraseg.cli import main
from hieraseg.recipe import load

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "recipes/quickstart.yaml")
COMMAND = [sys.executable, "-m", "hieraseg"]
SMALL = (
    *("--data.size", "[64, 64]", "--data.train_images", "12", "--data.val_images", "5"),
    *("--data.holdout_images", "3", "--training.batch_size", "4", "--decoder.width", "8"),
    *("--backbone.weights", "null"),
)


def run(out: Path, *words: str, recipe: str = QUICKSTART) -> Path:
    """Run a recipe; the folder of its only run."""
    assert main(["run", recipe, "--out", str(out), *SMALL, *words]) == 0
    return next(out.glob("*/*/result.json")).parent


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    return run(tmp_path_factory.mktemp("finished"), "--training.epochs", "2")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def test_run_folder_is_complete(finished: Path) -> None:
    """Everything that the design names is there, and says the same."""
    result = read(finished / "result.json")
    levels = result["splits"]["val"]["levels"]
    assert [level["level"] for level in levels] == [1, 2, 3]
    assert set(levels[1]["iou"]) == {"background", "upper_body", "lower_body"}
    assert all(0 <= level["miou"] <= 1 for level in levels)
    assert result["splits"]["val"]["coherence"] == 1  # best_path
    assert result["cost"]["steps"] == 6

    epochs = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    best = max(epochs, key=lambda epoch: epoch["val"]["levels"][-1]["miou"])
    # The result has more scores of the same weights: those that no epoch takes the time for.
    for quick, whole in zip(best["val"]["levels"], levels, strict=True):
        assert {**whole, **quick} == whole
        assert 0 <= whole["classwise_ece"] <= 1
        assert set(whole["boundary_iou"]) == set(whole["iou"])

    provenance = read(finished / "provenance.json")
    assert provenance["seed"] == 0
    assert provenance["data"]["val"] == result["splits"]["val"]["data"]
    assert [plugin["name"] for plugin in provenance["plugins"]["loss"]] == ["tree_min"]

    with np.load(finished / "evaluation/val.npz", allow_pickle=False) as counts:
        assert counts["ids"].tolist() == [f"val-{index:05d}" for index in range(5)]
        assert counts["pixels"].tolist() == [64 * 64] * 5
        assert counts["truth_3"].sum() == 5 * 64 * 64
    assert list((finished / "tensorboard").iterdir())
    for which in ("best", "last"):
        assert load_file(finished / "checkpoints" / which / "model.safetensors")


def test_resolved_recipe_runs_again_alike(finished: Path, tmp_path: Path) -> None:
    """What a run leaves is a recipe, and the same recipe and seed give the same numbers."""
    assert load(finished / "recipe.yaml").training.epochs == 2
    assert main(["run", str(finished / "recipe.yaml"), "--out", str(tmp_path)]) == 0
    again = next(tmp_path.glob("*/*/metrics.jsonl"))
    ours, theirs = (
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in (finished / "metrics.jsonl", again)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["val"]["images"] == other["val"]["images"]


def test_seeds_give_a_run_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--seeds` trains once per seed, and `compare` of the recipe shows their mean."""
    words = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL, "--training.max_steps", "1"]
    assert main([*words, "--seeds", "3", "4", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [Path(one["run"]).name.rsplit("-", 1)[1] for one in runs] == ["seed3", "seed4"]
    losses = [json.loads((Path(one["run"]) / "metrics.jsonl").read_text())["loss"] for one in runs]
    assert losses[0] != losses[1]
    values = [one["splits"]["val"]["levels"][2]["miou"] for one in runs]
    assert main(["compare", QUICKSTART, "--runs", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["seeds"] == [3, 4]
    assert row["mIoU L3"] == values


def test_training_learns(tmp_path: Path) -> None:
    """On a few pictures, the loss falls to a part and the classes are found."""
    folder = run(
        tmp_path,
        *("--data.train_images", "4", "--training.epochs", "40", "--decoder.width", "256"),
        *("--backbone.weights", "imagenet", "--optimizer.backbone_lr_multiplier", "1"),
        *("--loss", "weighted_ce"),
        *("--augmentation.crop", "0", "--augmentation.affine", "0"),
        *("--augmentation.photometric", "0", "--augmentation.blur", "0"),
        *("--logging.tensorboard", "false", "--optimizer.lr", "3e-3"),
    )
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert epochs[-1]["loss"] < 0.5 * epochs[0]["loss"]
    assert epochs[-1]["train"]["levels"][0]["miou"] > 0.65


def test_runs_are_never_overwritten(finished: Path) -> None:
    """A second run of the same name gets a number."""
    before = (finished / "result.json").read_bytes()
    words = (*SMALL, "--training.epochs", "2", "--training.max_steps", "1")
    root = finished.parents[1]
    for _ in range(2):
        assert main(["run", QUICKSTART, "--out", str(root), *words]) == 0
    name = finished.name.removesuffix("-seed0")
    made = sorted(path.name for path in finished.parent.iterdir())
    assert made == [f"{name}-seed0", f"{name}.2-seed0", f"{name}.3-seed0"]
    assert (finished / "result.json").read_bytes() == before


def test_logging_can_be_switched_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither event files nor checkpoints; evaluation says what is missing."""
    off = ("--logging.tensorboard", "false", "--logging.checkpoints", "false")
    folder = run(tmp_path, "--training.max_steps", "1", *off)
    assert not (folder / "tensorboard").exists()
    assert not (folder / "checkpoints").exists()
    assert main(["evaluate", str(folder)]) == 2
    assert "no such checkpoint" in capsys.readouterr().err


def test_evaluate_repeats_the_scores_of_the_run(copied: Path) -> None:
    """Weights that went through a file score as they did in training."""
    trained = read(copied / "result.json")["splits"]["val"]
    assert main(["evaluate", str(copied), "--split", "val"]) == 0
    scored = read(copied / "result.json")["splits"]["val"]
    assert scored["levels"] == trained["levels"]
    assert scored["data"] == trained["data"]


def test_evaluate_draws_and_adds_a_split(copied: Path, tmp_path: Path) -> None:
    """Pictures for `--visualize`, and the hold-out beside the validation scores."""
    figures = tmp_path / "figures"
    words = ["--split", "holdout", "--visualize", "--num_viz", "2", "--viz_dir", str(figures)]
    assert main(["evaluate", str(copied), *words]) == 0
    assert set(read(copied / "result.json")["splits"]) == {"val", "holdout"}
    pictures = sorted(figures.iterdir())
    assert [picture.name for picture in pictures] == ["holdout-00000.png", "holdout-00002.png"]
    width, height = Image.open(pictures[0]).size
    assert width > 4 * 64
    assert height > 2 * 64


def test_predict_answers_at_the_image_size(finished: Path, tmp_path: Path) -> None:
    """A class map per level, of known classes that agree with each other."""
    photo = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (50, 71, 3), np.uint8)
    Image.fromarray(pixels).save(photo)
    out = tmp_path / "out"
    assert main(["predict", str(finished), str(photo), "--out", str(out)]) == 0
    maps = [np.asarray(Image.open(out / f"photo_level{level}.png")) for level in (1, 2, 3)]
    assert [one.shape for one in maps] == [(50, 71)] * 3
    assert ((maps[0] == 0) == (maps[2] == 0)).all()  # background on one level is on all
    assert read(out / "classes.json")["level3"][1] == "low_hand"
    assert (out / "photo.png").is_file()


def test_predict_overwrites_no_image(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pictures may not land on the images, nor on each other."""
    photo = tmp_path / "photo.png"
    Image.new("RGB", (20, 30)).save(photo)
    before = photo.read_bytes()
    assert main(["predict", str(finished), str(photo), "--out", str(tmp_path)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert photo.read_bytes() == before
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other/photo.jpg"
    Image.new("RGB", (20, 30)).save(twin)
    words = [str(photo), str(twin), "--out", str(tmp_path / "out")]
    assert main(["predict", str(finished), *words]) == 2
    assert "would both write" in capsys.readouterr().err


def test_predict_goes_on_after_a_bad_image(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The good image is answered, the bad ones are named, and the exit code says so."""
    Image.new("RGB", (20, 30)).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    images = [str(tmp_path / name) for name in ("bad.jpg", "missing.jpg", "good.png")]
    assert main(["predict", str(finished), *images, "--out", str(tmp_path / "out")]) == 3
    error = capsys.readouterr().err
    assert "2 of 3 images" in error
    assert "bad.jpg" in error
    assert "missing.jpg: no such image" in error
    assert (tmp_path / "out/good.png").is_file()


@pytest.mark.parametrize("form", ["md", "csv", "latex", "json"])
def test_compare_prints_every_form(
    finished: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each form holds the run and its leaf score."""
    score = read(finished / "result.json")["splits"]["val"]["levels"][2]["miou"]
    assert main(["compare", str(finished), f"--{form}"]) == 0
    output = capsys.readouterr().out
    assert "quickstart" in output
    assert (str(score) if form == "json" else f"{score:.3f}") in output


def test_compare_of_an_interrupted_run(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was stopped, then evaluated, has scores but no cost."""
    (copied / "result.json").unlink()
    assert main(["evaluate", str(copied), "--checkpoint", "last"]) == 0
    capsys.readouterr()
    assert main(["compare", str(copied), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["minutes"] == [None]
    assert len(row["mIoU L3"]) == 1


def test_one_value_per_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A batch of one image at the backbone's stride cannot be normalised; one sentence."""
    words = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL, "--data.size", "[32, 32]"]
    assert main([*words, "--training.batch_size", "1"]) == 2
    assert "raise training.batch_size" in capsys.readouterr().err


def test_compare_warns_of_another_protocol(
    finished: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores of another protocol stand in the table, and what differs is said."""
    assert main(["evaluate", str(copied), "--flip"]) == 0
    assert "5 images at native resolution, scales 1, flip\n" in capsys.readouterr().out
    assert main(["compare", str(finished), str(copied)]) == 0
    assert "with different views (scales 1 | scales 1, flip): their" in capsys.readouterr().err
    result = read(copied / "result.json")
    result["splits"]["val"].update(resolution="input", data="other")
    (copied / "result.json").write_text(json.dumps(result))
    assert main(["compare", str(finished), str(copied), "--json"]) == 0
    answer, warning = capsys.readouterr()
    assert not json.loads(answer)["comparable"]
    assert "with different data, resolution (native | input), views" in warning


def test_processes_share_the_work(tmp_path: Path) -> None:
    """Two processes train one model, and score each image once, an uneven split included."""
    words = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL]
    words += ["--training.max_steps", "2", "--training.devices", "2", "--training.device", "cpu"]
    words += ["--seeds", "0", "1", "--json"]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [Path(result["run"]).name[-5:] for result in results] == ["seed0", "seed1"]
    for result in results:
        assert result["cost"]["processes"] == 2
        with np.load(Path(result["run"]) / "evaluation/val.npz", allow_pickle=False) as counts:
            assert counts["pixels"].tolist() == [64 * 64] * 5
    # The weights that were saved are those that were scored, though each process has its own
    # batch statistics while it trains.
    assert main(["evaluate", results[0]["run"]]) == 0
    scored = read(Path(results[0]["run"]) / "result.json")["splits"]["val"]
    for one, other in zip(scored["levels"], results[0]["splits"]["val"]["levels"], strict=True):
        assert one["iou"] == pytest.approx(other["iou"], abs=1e-3)


def test_problem_of_one_process_ends_all(tmp_path: Path) -> None:
    """A folder that only the first process fails to make: one sentence, one exit code."""
    taken = tmp_path / "taken"
    taken.write_text("a file, no folder")
    words = ["run", QUICKSTART, "--out", str(taken), *SMALL, "--training.devices", "2"]
    words += ["--training.device", "cpu"]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("hieraseg: error:") == 1
    assert "Traceback" not in done.stderr


def test_divergence_has_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A loss that is not finite ends the run with 4; what was written stays."""
    words = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL, "--optimizer", "sgd"]
    assert main([*words, "--optimizer.lr", "1e30", "--schedule.warmup", "0"]) == 4
    assert "diverged in epoch" in capsys.readouterr().err
    assert list(tmp_path.glob("*/*/recipe.yaml"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_asked_for_and_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, and no run folder."""
    words = ["run", QUICKSTART, "--out", str(tmp_path), *SMALL, "--training.device", "cuda"]
    assert main(words) == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_checkpoint_of_another_model(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights that do not fit the recipe are refused, and the scores stay as they are."""
    before = (copied / "result.json").read_bytes()
    recipe = copied / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("width: 8", "width: 16"))
    assert main(["evaluate", str(copied)]) == 2
    assert "weights of another model" in capsys.readouterr().err
    assert (copied / "result.json").read_bytes() == before


def test_not_a_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each job that needs a run says what it got instead."""
    for words in (["evaluate", str(tmp_path)], ["predict", str(tmp_path), "a.png", "--out", "o"]):
        assert main(words) == 2
        assert "is not a run folder" in capsys.readouterr().err
    assert main(["compare", str(tmp_path)]) == 2
    assert "no finished run" in capsys.readouterr().err


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_run_on_cuda(tmp_path: Path, precision: str) -> None:
    """Trains, scores, evaluates on a GPU in each precision."""
    words = ("--training.epochs", "2", "--training.device", "cuda")
    folder = run(tmp_path, *words, "--training.precision", precision)
    assert read(folder / "result.json")["cost"]["peak_memory_bytes"] > 0
    assert main(["evaluate", str(folder), "--device", "cuda"]) == 0


def test_a_class_tree_that_changed_after_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tree's file is known by its hash, and its weights are not read with other classes."""
    tree = tmp_path / "tree.yaml"
    body = "tree: {background: null, body: {upper: [hand, torso, head, arm], lower: [shin, leg]}}\n"
    labels = "labels: [background, hand, torso, shin, head, leg, arm]\n"
    tree.write_text(body + labels + "background: background\n")
    section = f"{{name: file, path: {tree}}}"
    folder = run(tmp_path / "runs", "--hierarchy", section, "--training.max_steps", "1")
    recorded = read(folder / "provenance.json")["plugins"]["hierarchy"][0]["files"]
    assert recorded == {str(tree): hashlib.sha256(tree.read_bytes()).hexdigest()}
    assert main(["evaluate", str(folder)]) == 0
    tree.write_text((body + labels).replace("shin", "calf"))
    assert main(["evaluate", str(folder)]) == 2
    assert "file no longer has the classes" in capsys.readouterr().err


def test_a_loss_that_trains_no_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--loss", "tree_triplet", "--decoder", "linear"]
    small = [word for word in SMALL if word not in ("--decoder.width", "8")]
    assert main(["run", QUICKSTART, "--out", str(tmp_path), *small, *words]) == 2
    assert "loss: tree_triplet trains an embedding and no class scores" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
