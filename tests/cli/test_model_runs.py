"""Runs of recipes with a model, or with an auxiliary head: all commands know them."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from hieraseg import registry
from hieraseg.cli import main
from tests.support.runs import QUICKSTART, SMALL, read_json, read_metrics

MODEL = "{name: coarse_to_fine, width: 8, backbone: {name: efficientnet_lite, weights: FILE}}"
DATA = SMALL[: SMALL.index("--decoder.width")]
Captured = pytest.CaptureFixture[str]


def run(out: Path, *overrides: str, recipe: str = QUICKSTART) -> Path:
    """The folder of a run of one epoch."""
    assert main(["run", recipe, "--out", str(out), "--training.epochs", "1", *overrides]) == 0
    (result,) = out.glob("*/*/result.json")
    return result.parent


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of a model, and of a backbone and decoder with an auxiliary head."""
    out = tmp_path_factory.mktemp("runs")
    weights = out / "weights.pth"
    torch.save(registry.backbones.get("efficientnet_lite")().network.state_dict(), weights)
    model = ["--model", MODEL.replace("FILE", str(weights))]
    auxiliary = ["--auxiliary.stage", "3", "--auxiliary.channels", "8"]
    found = {
        "model": run(out / "model", *DATA, *model),
        "auxiliary": run(out / "auxiliary", *SMALL, *auxiliary),
    }
    weights.unlink()
    return found


def scores_of(run: Path) -> list[float]:
    return [level["miou"] for level in read_json(run / "result.json")["splits"]["val"]["levels"]]


@pytest.mark.parametrize("name", ["model", "auxiliary"])
def test_a_run_is_scored_and_predicts_without_pretrained_weights(
    name: str, runs: dict[str, Path], tmp_path: Path, capsys: Captured
) -> None:
    folder = runs[name]
    expected = scores_of(folder)
    assert main(["evaluate", str(folder), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert expected == pytest.approx([level["miou"] for level in scored["levels"]])
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((50, 70, 3), np.uint8)).save(image)
    assert main(["predict", str(folder), str(image), "--out", str(tmp_path / "out")]) == 0
    assert not (folder / "files").exists()


def test_the_recipe_of_a_run_makes_the_same_run(runs: dict[str, Path], tmp_path: Path) -> None:
    recipe = (runs["model"] / "recipe.yaml").read_text()
    (weights,) = re.findall("weights: (.*weights.pth)", recipe)
    recipe = recipe.replace(weights, "null")
    (tmp_path / "recipe.yaml").write_text(recipe)
    again = run(tmp_path / "runs", recipe=str(tmp_path / "recipe.yaml"))
    assert (again / "recipe.yaml").read_text() == recipe
    assert set(read_metrics(again)[0]["terms"]) == set(read_metrics(runs["model"])[0]["terms"])


def test_runs_with_and_without_a_model_are_rows_of_one_table(
    runs: dict[str, Path], trained_run: Path, capsys: Captured
) -> None:
    assert main(["compare", str(runs["model"]), str(trained_run), "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert len(out["rows"]) == 2


def test_training_images_are_drawn(tmp_path: Path) -> None:
    words = ["--model", MODEL.replace("FILE", "null"), "--sheet", str(tmp_path / "x.png")]
    assert main(["data", QUICKSTART, *DATA, *words]) == 0
    assert (tmp_path / "x.png").is_file()


def test_the_auxiliary_loss_is_a_term_of_its_own(runs: dict[str, Path]) -> None:
    (record,) = read_metrics(runs["auxiliary"])
    terms: dict[str, float] = record["terms"]
    assert terms["auxiliary"] > 0
    assert record["loss"] == pytest.approx(math.fsum(terms.values()))
    (other,) = read_metrics(runs["model"])
    assert terms.keys() - other["terms"].keys() == {"auxiliary"}


def test_names_of_weights(runs: dict[str, Path]) -> None:
    def names(name: str) -> dict[str, set[str]]:
        (file,) = (runs[name] / "checkpoints/last").glob("*.safetensors")
        keys: Any = load_file(file)
        found: dict[str, set[str]] = {}
        for key in keys:
            first, second, *_ = key.split(".")
            found.setdefault(first, set()).add(second)
        return found

    assert names("auxiliary")["auxiliary"] == {"layers", "classifiers"}
    assert set(names("auxiliary")) == {"backbone", "decoder", "auxiliary"}
    assert names("model") == {"network": {"backbone", "laterals", "fuse", "heads"}}
