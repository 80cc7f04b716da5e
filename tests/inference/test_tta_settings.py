"""Settings of test-time augmentation: in a recipe, in a run, and as options of commands."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.inference.segmenter import Segmenter
from hieraseg.recipe import load
from hieraseg.runs import predictor
from hieraseg.settings import Evaluation
from tests.support.runs import QUICKSTART, read_json, run_recipe


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"scales": ()}, "must be non-empty, got "),
        ({"scales": (1.0, 0.0)}, "must be in (0, 16], got 0.0 at [1]"),
        ({"scales": (float("inf"),)}, "must be finite and in (0, 16], got inf at [0]"),
        ({"scales": (0.5, 1.0, 0.5)}, "must be distinct, got "),
        ({"scales": (17.0,)}, "must be in (0, 16], got 17.0 at [0]"),
        ({"scales": (float("nan"),)}, "must be finite and in (0, 16], got nan at [0]"),
        ({"window": (0, 8)}, "must be positive, got 0 at [0]"),
        ({"window_overlap": 1.0}, "must be in [0, 1), got 1.0"),
        ({"window_overlap": -0.1}, "must be in [0, 1), got -0.1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], problem: str) -> None:
    ((key, value),) = settings.items()
    with pytest.raises(ValueError) as error:
        Evaluation(**settings)
    assert str(error.value).startswith(f"{key} {problem}")
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    text = text.replace("inf", ".inf").replace("nan", ".nan")
    with pytest.raises(RecipeError) as error:
        load(QUICKSTART, [(f"evaluation.{key}", text)])
    assert f"command line: evaluation.{key}: {problem}" in str(error.value)


def test_settings_in_a_recipe(tmp_path: Path) -> None:
    overrides = [("flip", "true"), ("scales", "[1, 0.5]"), ("window", "[8, 9]")]
    recipe = load(QUICKSTART, [(f"evaluation.{key}", value) for key, value in overrides])
    expected = Evaluation(flip=True, scales=(1.0, 0.5), window=(8, 9), window_overlap=0.5)
    assert recipe.evaluation == expected
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert load(tmp_path / "recipe.yaml") == recipe


def test_settings_as_text() -> None:
    assert Evaluation().tta == "scales 1"
    settings = Evaluation(flip=True, scales=(1.25, 1.0), window=(8, 9), window_overlap=0.25)
    assert settings.tta == "scales 1 1.25, flip, window 8x9 overlap 0.25"


@pytest.fixture(scope="module")
def augmented_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step that is scored with test-time augmentation."""
    tta = ("--evaluation.flip", "true", "--evaluation.scales", "[0.5, 1]")
    return run_recipe(tmp_path_factory.mktemp("tta"), "--training.max_steps", "1", *tta)


def test_a_run_is_scored_with_the_settings_of_its_recipe(
    augmented_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = read_json(augmented_run / "result.json")["splits"]["val"]
    assert trained["tta"] == "scales 0.5 1, flip"
    capsys.readouterr()
    assert main(["evaluate", str(augmented_run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["levels"] == trained["levels"]
    options = ["--no-flip", "--scales", "1", "--window", "40", "50", "--json"]
    assert main(["evaluate", str(augmented_run), *options]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["tta"] == "scales 1, window 40x50 overlap 0.5"
    assert other["levels"] != trained["levels"]


def test_predict_uses_the_settings_of_the_recipe_or_of_the_options(
    augmented_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Evaluation] = []
    original = predictor.predict_classes

    def predict_classes(fabric: Any, segmenter: Segmenter, *rest: Any) -> Any:
        used.append(segmenter.settings)
        return original(fabric, segmenter, *rest)

    monkeypatch.setattr(predictor, "predict_classes", predict_classes)
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    Image.new("RGB", (71, 50), "red").save(photo)
    command = ["predict", str(augmented_run), str(photo), "--out", str(out)]
    assert main(command) == 0
    assert main([*command, "--no-flip", "--window", "32", "40"]) == 0
    assert used == [
        Evaluation(flip=True, scales=(0.5, 1.0)),
        Evaluation(flip=False, scales=(0.5, 1.0), window=(32, 40)),
    ]
    assert Image.open(out / "photo_level3.png").size == (71, 50)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--scales", "0"], "evaluation.scales: must be in (0, 16], got 0.0 at [0]"),
        (["--window", "0", "8"], "--window: must be a positive integer, got '0'"),
    ],
)
def test_options_out_of_range(
    augmented_run: Path, options: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(augmented_run), *options]) == 2
    assert problem in capsys.readouterr().err


def test_options_of_the_wrong_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "runs/a", "--scales", "big"]) == 2
    assert "--scales: expected a number, got 'big'" in capsys.readouterr().err
    assert main(["evaluate", "runs/a", "--window", "8", "8.5"]) == 2
    assert "--window: must be a positive integer, got '8.5'" in capsys.readouterr().err


def test_a_window_is_no_scale_of_the_stretched_image(
    augmented_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It sees images at their own resolution, which is not the input size here."""
    options = ["--no-flip", "--scales", "1", "--window", "32", "32"]
    assert main(["evaluate", str(augmented_run), *options]) == 0
    assert "warning" not in capsys.readouterr().err
    scores = read_json(augmented_run / "result.json")["splits"]
    own, window = scores["val"], scores["val@no-flip,scales=1,window=32x32"]
    assert (own["resize"], own["size"]) == ("stretch", [64, 64])
    assert window["resize"] == "none"
    assert window["tta"] == "scales 1, window 32x32 overlap 0.5"
