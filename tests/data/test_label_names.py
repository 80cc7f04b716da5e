"""Data sets that know the names of their labels, under trees of other data sets."""

import json
from pathlib import Path

import pytest

from hieraseg.cli import main
from hieraseg.data.label_names import label_names
from hieraseg.errors import DataError
from tests.support.runs import QUICKSTART

NAMES = {0: "background", 1: "arm"}
SMALL = "image_size: [32, 32], train_images: 2, val_images: 1, holdout_images: 1"
MEMBERS = f"{{name: concat, datasets: [{{name: mannequins, {SMALL}}}]}}"
OWN_TREE = """
tree:
  background:
  body: {upper: [head, torso, up_hand, low_hand], lower: [up_leg, low_leg]}
"""
MERGED = """
tree: {background: , body: {arms: , torso: , head: , legs: }}
labels: {0: background, 1: arms, 6: arms, 2: torso, 3: legs, 5: legs, 4: head}
"""


class Data:
    """A data set of which only the names of labels are read."""

    def __init__(self, names: object) -> None:
        self.label_names = names


def test_names_are_a_mapping_or_a_list() -> None:
    assert label_names(Data(NAMES)) == label_names(Data(["background", "arm"])) == NAMES
    assert label_names(Data(None)) == label_names(object()) == {}


@pytest.mark.parametrize("names", ["arm", {"arm": 1}, [1, 2], {1: None}, 3])
def test_anything_else_is_refused(names: object) -> None:
    with pytest.raises(DataError, match=r"^data: Data.label_names is .*; it must have a name by"):
        label_names(Data(names))


def write_recipe(folder: Path, hierarchy: str, data: str = f"{{name: mannequins, {SMALL}}}") -> str:
    """A recipe with one of the shipped trees, or with one that is written here."""
    if "tree:" in hierarchy:
        (folder / "tree.yaml").write_text(hierarchy)
        hierarchy = "{name: file, path: tree.yaml}"
    path = folder / "recipe.yaml"
    path.write_text(f"base: {QUICKSTART}\nhierarchy: {hierarchy}\ndata: {data}\n")
    return str(path)


@pytest.mark.parametrize("hierarchy", ["pascal_person_part", OWN_TREE])
@pytest.mark.parametrize("command", [["validate"], ["data"], ["run", "--out", "runs"]])
def test_a_tree_with_other_labels_is_refused(
    command: list[str],
    hierarchy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path, hierarchy)
    assert main([command[0], recipe, *command[1:]]) == 2
    said = "".join(capsys.readouterr())
    assert "recipe.yaml:3: data: label " in said
    assert " in the data set, but " in said
    assert "labels: {0: background, 1: low_hand, 2: torso, 3: low_leg, 4: head" in said
    assert not (tmp_path / "runs").exists()


def test_members_of_a_joined_data_set_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", write_recipe(tmp_path, OWN_TREE, MEMBERS)]) == 2
    assert "recipe.yaml:3: data.datasets[0]: label 1 is 'low_hand'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("hierarchy", "is_doubtful"), [("pascal_part", False), (MERGED, False), ("lip", True)]
)
def test_a_tree_without_any_of_the_names_is_doubtful(
    hierarchy: str, is_doubtful: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, hierarchy)
    assert main(["validate", recipe]) == 0
    capsys.readouterr()
    assert main(["data", recipe, "--split", "val", "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    said = [one for one in warnings if one.startswith("data: the tree has other names for all")]
    assert len(said) == is_doubtful
    if is_doubtful:
        assert "1 is 'low_hand' in the data set and 'hat' in the tree" in said[0]
