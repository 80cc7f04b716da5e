"""Runs with the data sets `folder` and `concat`, from the recipe to the scores.

The model's prediction is known, so that a changed pixel or label lowers the score.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hieraseg import Hierarchy
from hieraseg.cli import main
from hieraseg_plugins.datasets.folder import Folder
from hieraseg_plugins.datasets.pascal_part import PascalPart
from hieraseg_plugins.hierarchies.pascal_part import pascal_part
from tests.support.folders import write_pairs
from tests.support.oracle import oracle_component, write_oracle_recipe
from tests.support.runs import read_json

TREE: Hierarchy = pascal_part()
NAMES = {"train": ("Ötzi 1", "sub folder/2", "3", "4"), "val": ("sub folder/5", "日本")}
PALETTE = np.random.default_rng(3).integers(0, 256, (7, 3), np.uint8)


def write_street(root: Path, masks: Any) -> dict[str, np.ndarray]:
    """Write images in the model's colors; return the label values by id.

    Args:
        root: folder of the data set.
        masks: writes a mask of label values to a path without suffix.
    """
    data = oracle_component("datasets", "rectangles")(TREE, shape=(32, 48))
    written = {}
    for split, names in NAMES.items():
        for number, name in enumerate(names):
            image = root / f"images/{split}/{name}.png"
            mask = root / f"masks/{split}/{name}"
            for path in (image, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(data.image(f"{split}{number}")).save(image)
            written[f"{split}/{name}"] = data.mask(f"{split}{number}")
            masks(mask, written[f"{split}/{name}"])
    return written


def write_colors(path: Path, mask: np.ndarray) -> None:
    """A mask as colors of `PALETTE`."""
    Image.fromarray(PALETTE[mask]).save(f"{path}_L.png")


def write_16_bits(path: Path, mask: np.ndarray) -> None:
    """A mask of labels from 1000."""
    Image.fromarray(mask.astype(np.uint16) + 1000).save(f"{path}_L.png")


def section(root: Path, *more: str) -> str:
    """The settings of the data set, as in a recipe."""
    lines = (
        "name: folder",
        f"root: {root}",
        "images: images/{split}/**/{id}.png",
        "masks: masks/{split}/**/{id}_L.png",
        *more,
    )
    return "\n".join(lines)


def colors_of_tree(names: dict[int, str]) -> str:
    return "".join(f"\n  {names[value]}: {PALETTE[value].tolist()}" for value in range(7))


def run(folder: Path, data: str, *options: str) -> Path:
    """Run a recipe with this data section; return the run folder."""
    indented = "\n".join(f"  {line}" for line in data.split("\n"))
    recipe = write_oracle_recipe(folder, f"data:\n{indented}\ninput: {{size: [32, 48]}}\n")
    assert main(["run", recipe, "--out", str(folder / "runs"), *options]) == 0
    (path,) = (folder / "runs").glob("*/*")
    return path


def scores(path: Path) -> list[float]:
    """The mIoU of each level."""
    return [one["miou"] for one in read_json(path / "result.json")["splits"]["val"]["levels"]]


def test_masks_of_colors_are_scored_right_and_predictions_keep_folders(tmp_path: Path) -> None:
    masks = write_street(tmp_path / "data", write_colors)
    data = section(tmp_path / "data", f"colors:{colors_of_tree(TREE.labels)}")
    path = run(tmp_path, data)
    assert scores(path) == [1.0, 1.0, 1.0]
    out = tmp_path / "predicted"
    assert main(["predict", str(path), str(tmp_path / "data/images/val"), "--out", str(out)]) == 0
    for name in NAMES["val"]:
        found = np.asarray(Image.open(out / f"{name}_level3.png"))
        np.testing.assert_array_equal(found, masks[f"val/{name}"])
    drawn = tmp_path / "drawn"
    options = ("--visualize", "--num_viz", "2", "--viz_dir", str(drawn))
    assert main(["evaluate", str(path), "--split", "val", *options]) == 0
    assert {one.parent.name for one in drawn.rglob("*.png")} >= {"sub folder", "val"}


def test_mapped_labels_of_16_bits_are_scored_right(tmp_path: Path) -> None:
    write_street(tmp_path / "data", write_16_bits)
    labels = "".join(f"\n  {value + 1000}: {name}" for value, name in TREE.labels.items())
    assert scores(run(tmp_path, section(tmp_path / "data", f"labels:{labels}"))) == [1.0, 1.0, 1.0]


def test_joined_data_sets_are_scored_right(tmp_path: Path) -> None:
    write_street(tmp_path / "one", write_colors)
    write_street(tmp_path / "two", write_16_bits)
    colors = "".join(f"\n  Color {value}: {PALETTE[value].tolist()}" for value in range(7))
    names = "".join(f"\n  Color {value}: {name}" for value, name in TREE.labels.items())
    values = "".join(f"\n  {value + 1000}: {name}" for value, name in TREE.labels.items())
    sections = [
        section(tmp_path / "one", f"colors:{colors}", f"labels:{names}"),
        section(tmp_path / "two", f"labels:{values}"),
    ]
    items = "\n".join("  - " + one.replace("\n", "\n    ") for one in sections)
    path = run(tmp_path, f"name: concat\nweights: [3, 1]\ndatasets:\n{items}")
    assert scores(path) == [1.0, 1.0, 1.0]
    counted = np.load(path / "evaluation/val.npz", allow_pickle=False)
    ids = next(counted[key] for key in counted.files if counted[key].dtype.kind == "U")
    assert sorted(ids.tolist()) == sorted(f"{n}/val/{id}" for n in (1, 2) for id in NAMES["val"])


def test_shown_recipes_are_the_same_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pairs(tmp_path / "data", "images/{id}.png", "masks/{id}_L.png", "train/1", "val/1")
    text = section(
        root,
        "splits: {train: 0.5, val: 0.5, '7': 0.0}",
        "group: '^(\\d+)'",
        "colors: {a b: [0, 1, 2], 'null': [255, 255, 255]}",
        "labels: {a b: head, 'null': void, '*': torso}",
    )
    inside = [one.replace("\n", "\n    ") for one in (text, section(root, "labels: {0: void}"))]
    data = f"name: concat\ndatasets:\n  - {inside[0]}\n  - {inside[1]}\n"
    indented = "\n".join(f"  {line}" for line in data.split("\n"))
    recipe = write_oracle_recipe(tmp_path, f"data:\n{indented}\n")
    assert main(["show", recipe]) == 0
    shown = capsys.readouterr().out
    assert "labels: {a b: head, 'null': void, '*': torso}" in shown
    assert "splits: {train: 0.5, val: 0.5, '7': 0.0}" in shown
    (tmp_path / "again.yaml").write_text(shown)
    assert main(["show", str(tmp_path / "again.yaml")]) == 0
    assert capsys.readouterr().out == shown


# What a user sees of each kind of problem: one sentence, and the exit code.

PROBLEMS: dict[str, tuple[str, int, str]] = {
    "typo of a key": ("image: x", 2, "data 'folder' has no such key, did you mean 'images'?"),
    "type": ("splits: [a]", 2, "data.splits: expected a mapping of str to float or str or null"),
    "template": ("images: '{name}.png'", 2, "data.images: folder: must have no braces but {split}"),
    "shares": (
        "splits: {train: 0.5}",
        2,
        "data.splits: folder: must not be shares, since images has",
    ),
    "class": (
        "labels: {0: hed}",
        2,
        "data.labels: folder: has 'hed', which is no class of the tree",
    ),
    "color": ("colors: {hed: [0, 0, 0]}", 2, "data.colors: folder: has 'hed', which is no class"),
    "channel": ("colors: {head: [0, 0, 256]}", 2, "data.colors: must be in [0, 255], got 256 at"),
    "root": ("root: nowhere", 3, "/nowhere: no such data folder; set data.root"),
    "no files": (
        "images: 'img/{split}/**/{id}.png'",
        3,
        "no file matches the template 'img/{split}/**",
    ),
    "no masks": ("masks: 'masks/{split}/{id}_x.png'", 3, "masks of the split 'train' are missing"),
    "no list": ("splits: {train: train.txt}", 3, "/train.txt: no such file; write its path"),
    "no colors": ("colors: colors.txt", 3, "/colors.txt: no such file; write its path relative"),
    "value": ("labels: {0: void}", 3, "_L.png: the value "),
    "no val": (
        "splits: {train: train}",
        2,
        "data: the data set has no split 'val', which training needs; it has train: call",
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    setting, code, expected = PROBLEMS[case]
    write_street(tmp_path / "data", lambda path, mask: Image.fromarray(mask).save(f"{path}_L.png"))
    key = setting.split(":")[0]
    lines = [line for line in section(tmp_path / "data").split("\n") if not line.startswith(key)]
    indented = "\n".join(f"  {line}" for line in [*lines, setting])
    recipe = write_oracle_recipe(tmp_path, f"data:\n{indented}\ninput: {{size: [32, 48]}}\n")
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == code
    error = capsys.readouterr().err
    assert expected in error
    if expected.startswith("data."):
        assert re.search(rf"oracle\.yaml:[1-9]\d*: {re.escape(expected)}", error)
    assert "Traceback" not in error
    assert not list((tmp_path / "runs").glob("*/*/checkpoints"))


@pytest.mark.real_data
def test_pascal_part_can_be_described() -> None:
    root = os.environ.get("HIERASEG_PASCAL_PART")
    if not root:
        pytest.skip("HIERASEG_PASCAL_PART is not set")
    described = Folder(
        TREE,
        root=Path(root),
        images="JPEGImages/{id}.jpg",
        masks="gt_masks/{id}.*",
        splits={"all": "train_id.txt", "holdout": "val_id.txt"},
    )
    programmed = PascalPart(TREE, Path(root))
    assert described.ids("all") == programmed.ids("train") + programmed.ids("val")
    assert described.ids("holdout") == programmed.ids("holdout")
    for id in [*described.ids("all")[::50], *described.ids("holdout")[::50]]:
        np.testing.assert_array_equal(described.image(id), programmed.image(id))
        np.testing.assert_array_equal(described.mask(id), programmed.mask(id))
