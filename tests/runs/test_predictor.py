"""Prediction from Python: the same pixels as `hieraseg predict`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import hieraseg
from hieraseg.cli import main
from hieraseg.errors import DataError, RecipeError
from tests.support.oracle_plugin import leaf_colors
from tests.support.runs import read_json

PIXELS = np.random.default_rng(0).integers(0, 255, (50, 71, 3), np.uint8)


@pytest.fixture(scope="module")
def model(trained_run: Path) -> hieraseg.Predictor:
    return hieraseg.load(trained_run, device="cpu")


def test_the_same_as_hieraseg_predict(
    model: hieraseg.Predictor, trained_run: Path, tmp_path: Path
) -> None:
    photo, out = tmp_path / "photo.jpg", tmp_path / "out"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(PIXELS).save(photo, exif=exif)
    command = ["predict", str(trained_run), str(photo), "--out", str(out), "--device", "cpu"]
    assert main([*command, "--scores", "--overlays"]) == 0
    upright = hieraseg.read_image(photo)
    images: list[Any] = [photo, str(photo), Image.open(photo), upright, upright / 255]
    images += [torch.from_numpy(upright).permute(2, 0, 1), np.dstack([upright, upright[..., 0]])]
    for image in images:
        result = model.predict(image)
        assert result.classes.shape == (3, 71, 50)
        np.testing.assert_array_equal(result.image, upright)
        with np.load(out / "photo_scores.npz") as scores:
            assert list(scores) == ["level1", "level2", "level3"]
            for number, size in enumerate((2, 3, 7), 1):
                own = result.level(number)
                expected = np.asarray(Image.open(out / f"photo_level{number}.png"))
                np.testing.assert_array_equal(own.classes, expected)
                assert own.scores is not None
                assert own.scores.shape == (size, 71, 50)
                assert own.scores.dtype == np.float32
                np.testing.assert_array_equal(
                    own.scores.astype(np.float16), scores[f"level{number}"]
                )
                assert own.names == read_json(out / "classes.json")[f"level{number}"]
                overlay = Image.open(out / f"photo_overlay{number}.png")
                np.testing.assert_array_equal(result.overlay(number), overlay)
        np.testing.assert_array_equal(result.draw(), Image.open(out / "photo.png"))


def test_results_show_themselves_in_notebooks(model: hieraseg.Predictor) -> None:
    result = model.predict(PIXELS, scores=False)
    assert list(result.scores) == []
    assert result.level(1).scores is None
    assert result._repr_png_().startswith(b"\x89PNG")
    assert repr(result) == "Segmentation(50 x 71 pixels, levels of 2, 3, 7 classes)"
    assert result.names == model.names == model.hierarchy.level_names
    assert "epoch " in repr(model)
    assert result.class_map(3).mode == "P"
    for level in (0, 4, -1):
        with pytest.raises(ValueError, match=r"level: must be in 1\.\.3, got"):
            result.level(level)


def test_scores_are_those_of_the_classes(oracle_run: Path) -> None:
    """The model of the oracle knows the leaf of each color for sure."""
    leaves = np.random.default_rng(0).integers(0, 7, (32, 32))
    result = hieraseg.load(oracle_run, device="cpu").predict(leaf_colors(7)[leaves])
    parts = result.level(3)
    np.testing.assert_array_equal(parts.classes, leaves)
    assert parts.scores is not None
    np.testing.assert_array_equal(parts.scores.argmax(0), leaves)


def test_windows_and_scores(oracle_run: Path) -> None:
    """Bands of windows fill the scores as they fill the classes."""
    leaves = np.random.default_rng(0).integers(0, 7, (9, 11)).repeat(8, 0).repeat(8, 1)
    model = hieraseg.load(oracle_run, device="cpu", evaluation={"window": (32, 24)})
    result = model.predict(leaf_colors(7)[leaves])
    assert result.scores[2].shape == (7, 72, 88)
    np.testing.assert_array_equal(result.scores[2].argmax(0), result.classes[2])
    np.testing.assert_array_equal(result.classes[2], leaves)


def test_a_model_in_training_mode(model: hieraseg.Predictor) -> None:
    expected = model.predict(PIXELS)
    model.model.train()
    np.testing.assert_array_equal(model.predict(PIXELS).scores[2], expected.scores[2])


def test_problems_are_sentences(trained_run: Path, model: hieraseg.Predictor) -> None:
    with pytest.raises(DataError, match=r"^nowhere\.png: no such image$"):
        model.predict("nowhere.png")
    with pytest.raises(DataError, match="channels come first"):
        model.predict(PIXELS.transpose(2, 0, 1))
    with pytest.raises(RecipeError, match=r"^nowhere: no such folder; name one that"):
        hieraseg.load("nowhere")
    with pytest.raises(RecipeError, match="no such checkpoint"):
        hieraseg.load(trained_run, checkpoint="first")
    with pytest.raises(RecipeError, match="no such setting, did you mean 'flip'"):
        hieraseg.load(trained_run, evaluation={"flipp": True})
    with pytest.raises(RecipeError, match=r"device: expected auto, cpu or cuda, got 'gpu'"):
        hieraseg.load(trained_run, device="gpu")


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        ("scales", (0.0,), "must be in (0, 16], got 0.0 at [0]"),
        ("scales", 0.5, "expected a non-empty distinct list of float in (0, 16], got 0.5"),
        ("flip", "yes", "expected a bool, got 'yes': write true or false"),
        ("resolution", "nativ", "expected one of 'native', 'input', got 'nativ', did you mean"),
        ("window", 32, "expected a list [positive int, positive int] or null, got 32"),
    ],
)
def test_evaluation_settings_of_another_type(
    trained_run: Path, setting: str, value: Any, problem: str
) -> None:
    with pytest.raises(RecipeError) as error:
        hieraseg.load(trained_run, evaluation={setting: value})
    assert str(error.value).startswith(f"evaluation.{setting}: {problem}")
