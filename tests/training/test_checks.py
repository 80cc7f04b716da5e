"""Weights that are not finite, and the level that chooses the best epoch."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from hieraseg import Hierarchy
from hieraseg.cli import main
from hieraseg.errors import DivergedError
from hieraseg.metrics import PixelCounts, summarize
from hieraseg.training.checks import check_weights
from hieraseg.training.monitor import deciding_level
from tests.support.processes import write_recipe
from tests.support.runs import read_json, read_metrics

Captured = pytest.CaptureFixture[str]
HIERARCHY = Hierarchy.from_tree(
    {"background": None, "body": {"upper": ["head", "arm"], "lower": ["leg"]}},
    labels={0: "background", 1: "head", 8: "upper", 9: "body"},
    background="background",
)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_each_weight_and_statistic_is_checked(value: float) -> None:
    for name in ("0.bias", "1.running_var"):
        model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
        check_weights(model, set(), 1, 7)
        model.state_dict()[name][2] = value
        with pytest.raises(DivergedError, match=f"in epoch 1, by step 7: the weights {name} are"):
            check_weights(model, set(), 1, 7)
        check_weights(model, {name}, 1, 7)


@pytest.mark.parametrize(("labels", "level"), [([0, 1], 3), ([0, 8], 2), ([9], 1)])
def test_the_finest_level_with_labels_decides(labels: list[int], level: int) -> None:
    assert deciding_level(scores_of(labels), HIERARCHY) == level


def test_without_labels_no_level_decides() -> None:
    assert deciding_level(scores_of([0]), HIERARCHY) is None


def scores_of(labels: list[int]) -> dict:
    """Scores of a prediction that is always the first leaf that is not background."""
    targets = HIERARCHY.encode(torch.tensor(labels)[None, None])
    predicted = HIERARCHY.paths[1].view(1, -1, 1, 1).expand_as(targets)
    counts = PixelCounts(HIERARCHY, 1, torch.device("cpu"))
    counts.add(torch.tensor([0]), predicted, targets)
    return summarize(counts.arrays(), HIERARCHY)


def run(folder: Path, *overrides: str) -> int:
    recipe = write_recipe(folder)
    return main(["run", recipe, "--out", str(folder / "runs"), *overrides])


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, capsys: Captured) -> None:
    """The last step of the run makes them so: its loss and gradient were finite."""
    loss = ("--loss.how", "steep", "--loss.step", "1")
    overrides = ("--optimizer.lr", "3e38", "--training.max_steps", "1")
    assert run(tmp_path, *overrides, "--loss", "odd", *loss) == 4
    err = capsys.readouterr().err
    assert "by step 1: the weights decoder.heads" in err
    assert "has no checkpoint" in err
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("result.json"))


def test_scores_that_are_not_finite(tmp_path: Path, capsys: Captured) -> None:
    """The weights are finite, but the logits are not in evaluation mode."""
    assert run(tmp_path, "--decoder.nan", "true", "--data.val_images", "3") == 4
    assert "not finite in 3 of 3 images" in capsys.readouterr().err
    assert not list(tmp_path.rglob("result.json"))


def test_a_split_without_labels_of_leaves(tmp_path: Path, capsys: Captured) -> None:
    """It is said which level chooses the best epoch, once, and recorded."""
    assert run(tmp_path, "--data.val_label", "8", "--training.epochs", "3") == 0
    err = capsys.readouterr().err
    assert err.count("the labels of val end on level 2, so miou@2 decides") == 1
    (folder,) = (tmp_path / "runs").glob("*/*")
    epochs = read_metrics(folder)
    assert [epoch["best_level"] for epoch in epochs] == [2, 2, 2]
    scores = [epoch["val"]["levels"][1]["miou"] for epoch in epochs]
    result = read_json(folder / "result.json")
    assert result["cost"]["best_level"] == 2
    val = result["splits"]["val"]
    assert val["epoch"] == scores.index(max(scores)) + 1
    assert val["levels"][1]["miou"] == max(scores)
    assert val["levels"][2]["miou"] is None


def test_a_split_with_background_only(tmp_path: Path, capsys: Captured) -> None:
    """All epochs are equal, so the last one is kept as the best, and that is said."""
    assert run(tmp_path, "--data.val_label", "0", "--training.epochs", "2") == 0
    assert capsys.readouterr().err.count("val has no label of a class other than background") == 1
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert read_json(folder / "result.json")["splits"]["val"]["epoch"] == 2


def test_precision_that_the_device_has_not(tmp_path: Path, capsys: Captured) -> None:
    """Fabric would silently take another one."""
    assert run(tmp_path, "--training.precision", "16-mixed") == 2
    assert "16-mixed needs CUDA" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))


def test_variables_of_fabric_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LT_PRECISION", "64-true")
    monkeypatch.setenv("LT_DEVICES", "2")
    assert run(tmp_path, "--training.max_steps", "1") == 0
    (result,) = tmp_path.rglob("result.json")
    assert read_json(result)["cost"]["precision"] == "32-true"
    assert read_json(result)["cost"]["processes"] == 1


def test_a_precision_that_only_the_device_of_training_had(tmp_path: Path, capsys: Captured) -> None:
    """A run that was trained in 16-mixed on a GPU is scored on the CPU, which is said."""
    assert run(tmp_path, "--training.max_steps", "1") == 0
    (recipe,) = tmp_path.glob("runs/*/*/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("32-true", "16-mixed"))
    assert main(["evaluate", str(recipe.parent), "--device", "cpu"]) == 0
    err = capsys.readouterr().err
    assert "training used 16-mixed, which this device does not have; using 32-true" in err
    scores = read_json(recipe.parent / "result.json")["splits"]["val"]
    assert scores["precision"] == "32-true"


def test_a_model_with_scores_that_are_not_finite_is_not_used(
    tmp_path: Path, capsys: Captured
) -> None:
    assert run(tmp_path, "--training.max_steps", "1") == 0
    (recipe,) = tmp_path.glob("runs/*/*/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("nan: false", "nan: true"))
    image = tmp_path / "image.png"
    Image.new("RGB", (8, 8)).save(image)
    assert main(["evaluate", str(recipe.parent)]) == 4
    assert main(["predict", str(recipe.parent), str(image), "--out", str(tmp_path / "out")]) == 4
    assert capsys.readouterr().err.count("not finite") == 2
    assert not (tmp_path / "out/image.png").exists()


@pytest.mark.parametrize("pairs", ["", "pairs: [[left_arm, right_arm]]\n"])
@pytest.mark.parametrize("flips", ["training", "evaluation", "none"])
def test_flips_of_classes_that_look_like_a_pair(
    tmp_path: Path, capsys: Captured, pairs: str, flips: str
) -> None:
    tree = tmp_path / "arms.yaml"
    tree.write_text(f"tree: [hair, left_arm, right_arm, skin]\nvoid: [255]\n{pairs}")
    overrides = ["--augmentation.flip", "0.5" if flips == "training" else "0"]
    overrides += ["--evaluation.flip", "true"] if flips == "evaluation" else []
    settings = ("--hierarchy.path", str(tree), "--training.max_steps", "1")
    assert run(tmp_path, *settings, *overrides) == 0
    warned = "add the line `pairs: [[left_arm, right_arm]]`" in capsys.readouterr().err
    assert warned == (not pairs and flips != "none")
