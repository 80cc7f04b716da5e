"""Every shipped recipe runs: two steps, scored, on small data.

Those of public data sets, and studies of many runs, are tested in `tests/recipes`.
"""

import json
from pathlib import Path

import pytest

from hieraseg.cli import main
from hieraseg.recipe.shipped import shipped_recipes
from tests.support.layouts import LAYOUTS
from tests.support.pascal_part import write_pascal_folder

ROOT = Path(__file__).parents[2] / "recipes"
STUDIES = ("study_quickstart", "pascal_part/study", "pascal_part/study_cpu")
RECIPES = [path for name, path in shipped_recipes().items() if name not in (*LAYOUTS, *STUDIES)]
OVERRIDES = {
    "mannequins": ("--data.train_images", "8", "--data.val_images", "3"),
    # No hub in the tests: random weights stand in for ImageNet's.
    "pascal_part": ("--backbone.weights", "null"),
}


def test_there_are_recipes() -> None:
    """The folders are walked."""
    assert {path.parent.name for path in RECIPES} >= {"recipes", "pascal_part"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_recipe_runs_two_steps(
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two steps, one evaluation, a result for every level."""
    assert main(["show", str(recipe), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]["name"]
    words = [*OVERRIDES[data], "--input.size", "[64, 64]", "--training.batch_size", "4"]
    if data == "pascal_part":
        folder = write_pascal_folder(tmp_path / "sets" / "pascal_part", images=12)
        monkeypatch.setenv("HIERASEG_DATA", str(tmp_path / "sets"))
    out = str(tmp_path / "runs")
    # Of checkpoints, those of ResNet-50 take longer than all else.
    words += ["--training.max_steps", "2", "--checkpoints.every", "null"]
    assert main(["run", str(recipe), "--out", out, *words, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["cost"]["steps"] == 2
    assert [level["level"] for level in result["splits"]["val"]["levels"]] == [1, 2, 3]
    if data == "pascal_part":  # the run folder does not depend on the variable
        assert f"  root: {folder}\n" in (Path(result["run"]) / "recipe.yaml").read_text()


def test_a_folder_with_the_name_of_a_recipe_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "camvid").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["show", "camvid"]) == 0
    assert "dataset: camvid" in capsys.readouterr().out
    assert main(["show", "mine"]) == 2
    assert "mine: is a folder; name a recipe file in it" in capsys.readouterr().err
