"""The recipes of public data sets, on tiny folders in the layouts of these data sets."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch

from hieraseg import Hierarchy
from hieraseg.cli import main
from hieraseg.data.checking import CheckedDataset
from hieraseg.recipe import load
from hieraseg.recipe.build import build
from hieraseg.recipe.dataset import build_dataset
from tests.support.layouts import LAYOUTS, STRIPE, Value, write_layout

ROOT = Path(__file__).parents[2] / "recipes"
CLASSES: dict[str, dict[Value, str]] = {
    "ade20k": {
        0: "",
        1: "stuff > wall",
        13: "objects > person",
        97: "stuff > escalator",
        128: "objects > bicycle",
        150: "objects > flag",
    },
    "camvid": {
        (0, 0, 0): "",
        (64, 128, 64): "moving objects > pedestrians > Animal",
        (64, 0, 64): "fixed objects > buildings > Tunnel",
        (128, 128, 128): "Sky > Sky > Sky",
        (64, 64, 128): "fixed objects > Fence > Fence",
        (128, 0, 192): "ground > roads > LaneMkgsDriv",
        (128, 128, 192): "ground > pavements > RoadShoulder",
        (192, 0, 192): "moving objects > riders > MotorcycleScooter",
        (64, 192, 0): "fixed objects > buildings > Wall",
    },
    "cityscapes": {
        0: "",
        3: "",
        7: "flat > road",
        9: "",
        23: "sky > sky",
        25: "human > rider",
        30: "",
        33: "vehicle > bicycle",
    },
    "coco_stuff": {
        0: "things > person-things > person",
        10: "things > outdoor-things > fire hydrant",
        12: "things > outdoor-things > stop sign",
        89: "things > indoor-things > toothbrush",
        91: "stuff > textile-stuff > banner",
        181: "stuff > solid-stuff > wood",
        255: "",
    },
    "lip": {
        0: "background > background > background",
        1: "body > upper_body > hat",
        10: "body > upper_body > jumpsuits",
        12: "body > lower_body > skirt",
        14: "body > upper_body > left_arm",
        19: "body > lower_body > right_shoe",
    },
    "mapillary_vistas_v2": {
        0: "animal > animal--bird > animal--bird > animal--bird",
        2: "",
        21: "construction > construction--flat > construction--flat--road > "
        "construction--flat--road",
        39: "marking > marking--discrete > marking--discrete--arrow > "
        "marking--discrete--arrow--left",
        108: "object > object--vehicle > object--vehicle--car > object--vehicle--car",
        122: "void > void--static > void--static > void--static",
        123: "",
    },
    "pascal_person_part": {
        0: "background > background > background",
        1: "body > upper_body > head",
        3: "body > upper_body > upper_arms",
        4: "body > upper_body > lower_arms",
        6: "body > lower_body > lower_legs",
        255: "",
    },
}
"""Path of each value that the masks have; empty for void."""

SPLITS = {"training": "train", "validation": "val", "train2017": "train", "val2017": "val"}
"""Name of a split in the recipe, where the folder has another one."""

LEFT_OUT = {("cityscapes", "test"), ("pascal_person_part", "trainval")}
"""Splits on the disk that a recipe does not read."""

TINY = (
    *("--backbone.weights", "null", "--decoder.width", "8", "--input.size", "[32, 64]"),
    *("--training.batch_size", "2", "--training.precision", "32-true"),
)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set at its default place below $HIERASEG_DATA."""
    name = request.param
    monkeypatch.setenv("HIERASEG_DATA", str(tmp_path))
    return write_layout(tmp_path / name, LAYOUTS[name], list(CLASSES[name]))


def classes_of(dataset: CheckedDataset, hierarchy: Hierarchy, id: str) -> list[str]:
    """Path of each stripe of a mask, from the left."""
    mask = dataset.mask(id)
    assert dataset.image(id).shape[:2] == mask.shape
    encoded = hierarchy.encode(torch.from_numpy(mask.astype(int)))
    assert (encoded == encoded[:, :1]).all()
    columns = encoded[:, 0, STRIPE // 2 :: STRIPE].T.tolist()
    return [
        " > ".join(
            names[index]
            for names, index in zip(hierarchy.level_names, column, strict=True)
            if index >= 0
        )
        for column in columns
    ]


@pytest.mark.parametrize(("folder", "name"), [(one, one) for one in CLASSES], indirect=["folder"])
def test_recipe_reads_the_layout(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", name]) == 0
    assert capsys.readouterr().out == f"{name}: ok\n"
    recipe = load(name, require_paths=True)
    hierarchy = build(recipe["hierarchy"])
    dataset = CheckedDataset(build_dataset(recipe, hierarchy), hierarchy)
    found = {
        split: [classes_of(dataset, hierarchy, id) for id in dataset.ids(split)]
        for split in dataset.dataset.splits
    }
    expected = list(CLASSES[name].values())
    assert found == {
        SPLITS.get(split, split): [expected] * len(ids)
        for split, ids in LAYOUTS[name].ids.items()
        if (name, split) not in LEFT_OUT
    }


@pytest.mark.parametrize(
    ("folder", "name"), [(one, one) for one in ("lip", "mapillary_vistas_v2")], indirect=["folder"]
)
def test_a_step_can_be_taken(folder: Path, name: str) -> None:
    assert main(["validate", name, "--build", *TINY]) == 0


@pytest.mark.parametrize("folder", ["cityscapes"], indirect=True)
def test_recipe_trains_and_is_scored(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "cityscapes", "--out", str(tmp_path / "runs"), *TINY]
    command += ["--checkpoints.every", "null"]
    assert main([*command, "--training.max_steps", "1", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["cost"]["steps"] == 1
    assert [level["level"] for level in result["splits"]["val"]["levels"]] == [1, 2]
    # The run folder does not depend on the variable.
    assert f"  root: {folder}\n" in (Path(result["run"]) / "recipe.yaml").read_text()


def test_a_missing_root_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIERASEG_DATA", str(tmp_path))
    assert main(["run", "cityscapes", "--out", str(tmp_path / "runs")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    place = f"{tmp_path}/cityscapes"
    assert f"{place}: no such data folder; set data.root, or set HIERASEG_DATA" in line
    assert not (tmp_path / "runs").exists()
    assert main(["data", "cityscapes"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{place}: no such data folder; set data.root to the folder of the data set, or " in line
    assert "HIERASEG_DATA to the folder that has `cityscapes` in it" in line


def test_options_are_checked_without_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIERASEG_DATA", str(tmp_path))
    assert main(["validate", "ade20k", "--input.resize", "stretch"]) == 2
    assert "augmentation.crop_tries: has no effect with input.resize" in capsys.readouterr().out


def test_camvid_is_divided_as_published(tmp_path: Path) -> None:
    """367, 101 and 233 images, by the commands of the recipe's header."""
    frames = [
        *(f"0001TP_{number:06}" for number in range(6690, 10381, 30)),
        *(f"0006R0_f{number:05}" for number in range(930, 3931, 30)),
        *(f"0016E5_{number:05}" for number in (*range(390, 871, 30), 901, *range(930, 2401, 30))),
        *(f"0016E5_{number:05}" for number in range(4350, 7921, 30)),
        *(f"0016E5_{number:05}" for number in range(7959, 8160, 2)),
        *(f"0016E5_{number:05}" for number in range(8190, 8641, 30)),
        *(f"Seq05VD_f{number:05}" for number in range(0, 5101, 30)),
    ]
    assert len(frames) == 701
    (tmp_path / "701_StillsRaw_full").mkdir()
    for frame in frames:
        (tmp_path / "701_StillsRaw_full" / f"{frame}.png").touch()
    header = (ROOT / "camvid.yaml").read_text()
    commands = re.findall(r"^#   (ls .*)$", header, re.MULTILINE)
    subprocess.run(["sh", "-ec", "\n".join(commands)], cwd=tmp_path, check=True)
    split = {name: (tmp_path / f"{name}.txt").read_text() for name in ("train", "val", "test")}
    assert {name: text.count("\n") for name, text in split.items()} == {
        "train": 367,
        "val": 101,
        "test": 233,
    }
    assert split["val"].startswith("0016E5_07959.png\n")
    assert split["val"].endswith("0016E5_08159.png\n")
    assert split["test"].startswith("0001TP_008550.png\n")
    assert "0001TP_008520.png\n" in split["train"]
