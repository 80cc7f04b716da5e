"""The files that a recipe's arguments name: a run folder keeps them, and stands alone."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hieraseg.cli import main
from hieraseg.compare import compare
from hieraseg.errors import RecipeError
from hieraseg.files.writing import write_json
from hieraseg.recipe import load
from hieraseg.runs import argument_files
from hieraseg.runs.argument_files import check_argument_files, copy_argument_files
from hieraseg.runs.folder import RunFolder
from tests.support.oracle import write_oracle_recipe
from tests.support.runs import read_json

Patch = pytest.MonkeyPatch
Captured = pytest.CaptureFixture[str]

TREE = """\
tree: {rest: null, body: {upper: [head, torso], lower: null}}
labels: {0: rest, 1: head, 2: torso, 3: lower}
background: rest
"""
WITH_TREE = "hierarchy: {name: file, path: trees/tree.yaml}\n"
PLUGIN = """\
from pathlib import Path
from hieraseg import Loss, registry

@registry.losses.register("with_paths")
class WithPaths(Loss):
    def __init__(self, file: Path | None = None, many: list[Path] = [], names: dict[str, Path] = {},
                 inner: Loss | None = None) -> None:
        super().__init__()
"""


def write_recipe(folder: Path, changes: str = WITH_TREE) -> str:
    """The oracle's recipe with a class tree of its own, in a folder beside it."""
    (folder / "trees").mkdir(parents=True)
    (folder / "trees" / "tree.yaml").write_text(TREE)
    return write_oracle_recipe(folder, changes)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose recipe and class tree are gone, and whose folder was moved."""
    root = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        recipe = write_recipe(root / "recipes")
        assert main(["run", os.path.relpath(recipe), "--out", "runs"]) == 0
    shutil.rmtree(root / "recipes")
    return (root / "runs").rename(root / "moved") / "oracle" / "base-seed0"


@pytest.fixture
def run(original: Path, tmp_path: Path, monkeypatch: Patch) -> Path:
    """A copy of the run, seen from another working directory by a relative path."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(original, tmp_path / "copy")
    return Path("../copy")


def test_the_recipe_names_the_copy(original: Path) -> None:
    assert (original / "files" / "tree.yaml").read_text() == TREE
    assert "  path: files/tree.yaml\n" in (original / "recipe.yaml").read_text()
    (record,) = read_json(original / "provenance.json")["argument_files"]
    assert record["file"] == "files/tree.yaml"
    assert record["original"] == str(original.parents[2] / "recipes/trees/tree.yaml")


def test_it_is_scored_predicted_validated_and_run_from_anywhere(
    run: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["evaluate", str(run), "--split", "holdout", "--json"]) == 0
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("image.png")
    assert main(["predict", str(run), "image.png", "--out", "predictions"]) == 0
    assert main(["validate", str(run / "recipe.yaml")]) == 0
    assert main(["run", str(run / "recipe.yaml"), "--out", "runs"]) == 0
    (again,) = Path("runs").glob("*/*")
    assert (again / "recipe.yaml").read_text() == (run / "recipe.yaml").read_text()
    (record,) = read_json(again / "provenance.json")["argument_files"]
    assert record["original"] == str(tmp_path / "copy/files/tree.yaml")
    scores = read_json(again / "result.json")["splits"]["val"]["levels"]
    assert [level["miou"] for level in scores] == [1.0, 1.0, 1.0]


def test_a_changed_or_missing_copy_is_refused(run: Path, capsys: Captured) -> None:
    copy = run / "files" / "tree.yaml"
    copy.write_text(TREE.replace("1: head, 2: torso", "2: head, 1: torso"))
    assert main(["evaluate", str(run)]) == 2
    assert f"{copy}: was changed after the run" in capsys.readouterr().err
    copy.unlink()
    assert main(["predict", str(run), "x.png", "--out", "p"]) == 2
    assert f"{copy}: is missing" in capsys.readouterr().err
    copy.write_text(TREE)
    assert main(["evaluate", str(run)]) == 0


def test_where_a_file_lies_does_not_make_another_recipe(tmp_path: Path) -> None:
    for place, seed in (("a", 0), ("b", 1)):
        recipe = write_recipe(tmp_path / place, WITH_TREE.replace("tree.yaml", f"{place}.yaml"))
        (tmp_path / place / "trees/tree.yaml").rename(tmp_path / place / f"trees/{place}.yaml")
        words = ["--training.seed", str(seed), "--out", str(tmp_path / "runs")]
        assert main(["run", recipe, *words]) == 0
    changed = write_recipe(tmp_path / "c")
    (tmp_path / "c/trees/tree.yaml").write_text(TREE.replace("background: rest\n", ""))
    assert main(["run", changed, "--training.seed", "2", "--out", str(tmp_path / "runs")]) == 0
    rows = compare(list((tmp_path / "runs" / "oracle").iterdir())).rows
    assert sorted(sorted(row.seeds) for row in rows) == [[0, 1], [2]]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files that a recipe names: two of one name, a folder and weights."""
    for name in ("a/list.txt", "b/list.txt", "table", "images/x.jpg", "weights.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "paths_plugin.py").write_text(PLUGIN)
    (tmp_path / "recipe.yaml").write_text(
        "base: quickstart\n"
        "plugins: [paths_plugin.py]\n"
        "backbone: {name: resnet50, weights: weights.pth}\n"
        "loss:\n"
        "  name: with_paths\n"
        "  file: images\n"
        "  many: [a/list.txt, b/list.txt, a/list.txt, not_there]\n"
        "  names: {a: b/list.txt}\n"
        "  inner: {name: with_paths, file: table}\n"
    )
    return tmp_path


def copied(files: Path) -> tuple[RunFolder, dict[str, str]]:
    """A run folder with copies, and the hashes of their files."""
    folder = RunFolder.create(files / "runs", "recipe", "base", 0)
    recipe, records = copy_argument_files(folder, load(files / "recipe.yaml"))
    folder.recipe.write_text(recipe.to_yaml())
    write_json(folder.provenance, {"argument_files": records})
    return folder, {record["file"]: record["sha256"] for record in records}


def test_every_file_is_copied_once_and_weights_and_folders_stay(files: Path) -> None:
    folder, hashes = copied(files)
    assert {path.name: path.read_text() for path in folder.files.iterdir()} == {
        "list.txt": "a/list.txt",
        "list_2.txt": "b/list.txt",
        "table": "table",
    }
    assert set(hashes) == {"files/list.txt", "files/list_2.txt", "files/table"}
    check_argument_files(folder)
    recipe = load(folder.recipe)
    assert recipe["backbone"].arguments["weights"] == files / "weights.pth"
    loss, own = recipe["loss"].arguments, folder.files
    assert loss["file"] == files / "images"
    assert loss["many"] == [
        own / "list.txt", own / "list_2.txt", own / "list.txt", files / "not_there",
    ]  # fmt: skip
    assert loss["names"] == {"a": own / "list_2.txt"}
    assert loss["inner"].arguments["file"] == own / "table"


def test_large_files_stay_where_they_are(files: Path, monkeypatch: Patch) -> None:
    (files / "table").write_text("x" * 100)
    monkeypatch.setattr(argument_files, "LARGEST_FILE", 99)
    folder, hashes = copied(files)
    assert "files/table" not in hashes
    assert load(folder.recipe)["loss"].arguments["inner"].arguments["file"] == files / "table"


def test_a_damaged_provenance_does_not_skip_the_check(files: Path) -> None:
    folder, _ = copied(files)
    folder.provenance.write_text("{")
    with pytest.raises(RecipeError, match=r"provenance\.json: is damaged"):
        check_argument_files(folder)
