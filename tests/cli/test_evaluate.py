"""`hieraseg evaluate`: scores of a trained run, drawn images, and runs that cannot be loaded."""

from pathlib import Path

import pytest
from PIL import Image

from hieraseg.cli import main
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]


def test_scores_equal_those_of_training(run_copy: Path) -> None:
    """Weights that are loaded from a checkpoint score as they did in training."""
    trained = read_json(run_copy / "result.json")["splits"]["val"]
    assert main(["evaluate", str(run_copy), "--split", "val"]) == 0
    scored = read_json(run_copy / "result.json")["splits"]["val"]
    assert scored["levels"] == trained["levels"]
    assert scored["data"] == trained["data"]


def test_another_split_is_added_and_drawn(run_copy: Path, tmp_path: Path) -> None:
    """The hold-out is scored beside the validation split, and some of its images are drawn."""
    figures = tmp_path / "figures"
    options = ["--split", "holdout", "--visualize", "--num_viz", "2", "--viz_dir", str(figures)]
    assert main(["evaluate", str(run_copy), *options]) == 0
    assert set(read_json(run_copy / "result.json")["splits"]) == {"val", "holdout"}
    pictures = sorted(figures.iterdir())
    assert [picture.name for picture in pictures] == ["holdout-00000.png", "holdout-00002.png"]
    width, height = Image.open(pictures[0]).size
    assert width > 4 * 64
    assert height > 2 * 64


def test_number_of_drawn_images_is_checked(trained_run: Path, capsys: Captured) -> None:
    """The option's value is in the message."""
    assert main(["evaluate", str(trained_run), "--visualize", "--num_viz", "-1"]) == 2
    assert "--num_viz: must be a non-negative integer, got '-1'" in capsys.readouterr().err


def test_checkpoint_of_another_model(run_copy: Path, capsys: Captured) -> None:
    """Weights that do not fit the recipe are refused, and the scores are kept."""
    before = (run_copy / "result.json").read_bytes()
    recipe = run_copy / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("width: 8", "width: 16"))
    assert main(["evaluate", str(run_copy)]) == 2
    assert "weights of another model" in capsys.readouterr().err
    assert (run_copy / "result.json").read_bytes() == before


def test_not_a_run_folder(tmp_path: Path, capsys: Captured) -> None:
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
