"""Data that cannot be used: one sentence, exit code 3, and no run folder."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hieraseg.cli import main
from tests.support.pascal_part import write_pascal_folder
from tests.support.runs import ROOT

RECIPE = str(ROOT / "recipes/pascal_part/lite0_cpu.yaml")
FIRST = "2008_000000"
Captured = pytest.CaptureFixture[str]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def save_object_array(path: Path) -> None:
    np.save(path, np.array([{"not": "a mask"}], dtype=object), allow_pickle=True)


def set_label(value: int) -> Callable[[Path], None]:
    """Function that sets the label of a mask's first pixel."""

    def change(path: Path) -> None:
        mask = np.load(path)
        mask[0, 0] = value
        np.save(path, mask)

    return change


def crop(path: Path) -> None:
    np.save(path, np.load(path)[1:])


def rename_label(path: Path) -> None:
    path.write_text(path.read_text().replace("2: torso", "2: head"))


CASES: list[tuple[str, Callable[[Path], object], list[str]]] = [
    ("train_id.txt", Path.unlink, ["train_id.txt: no such file"]),
    (f"JPEGImages/{FIRST}.jpg", Path.unlink, [FIRST, "no image"]),
    (f"gt_masks/{FIRST}.npy", Path.unlink, [FIRST, "mask"]),
    (f"gt_masks/{FIRST}.npy", crop, [FIRST, "pixels, but its mask is"]),
    (f"gt_masks/{FIRST}.npy", set_label(9), [FIRST, "label 9", "only 0, 1, 2, 3, 4, 5, 6"]),
    (f"gt_masks/{FIRST}.npy", save_object_array, [f"{FIRST}.npy", "needs pickle", "np.save"]),
    (f"JPEGImages/{FIRST}.jpg", truncate, [f"{FIRST}.jpg", "damaged"]),
    ("classes.txt", rename_label, ["classes.txt", "'head'", "'torso'"]),
]


@pytest.mark.parametrize(
    ("file", "damage", "expected"),
    CASES,
    ids=[
        "no-list",
        "no-image",
        "no-mask",
        "other-size",
        "unknown-label",
        "pickle",
        "truncated-jpeg",
        "classes-disagree",
    ],
)
def test_bad_file(
    file: str,
    damage: Callable[[Path], object],
    expected: list[str],
    tmp_path: Path,
    capsys: Captured,
) -> None:
    """The message names the file and the problem."""
    data = write_pascal_folder(tmp_path / "data")
    damage(data / file)
    out = tmp_path / "runs"
    overrides = ["--data.root", str(data), "--input.size", "[64, 64]", "--backbone.weights", "null"]
    assert main(["run", RECIPE, *overrides, "--out", str(out)]) == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("hieraseg: error: ")
    for part in expected:
        assert part in error
    assert not out.exists()


def test_missing_folder(tmp_path: Path, capsys: Captured) -> None:
    """The message names the key of the recipe to set."""
    missing = str(tmp_path / "nowhere")
    assert main(["run", RECIPE, "--data.root", missing, "--out", str(tmp_path)]) == 3
    error = capsys.readouterr().err
    assert f"{missing}: no such data folder" in error
    assert "set data.root" in error


def test_many_bad_files(tmp_path: Path, capsys: Captured) -> None:
    """The message has their number and the first five of them."""
    data = write_pascal_folder(tmp_path / "data", images=12)
    for path in sorted((data / "JPEGImages").iterdir())[:8]:
        truncate(path)
    overrides = ["--data.root", str(data), "--input.size", "[64, 64]", "--backbone.weights", "null"]
    assert main(["run", RECIPE, *overrides, "--out", str(tmp_path / "runs")]) == 3
    error = capsys.readouterr().err
    assert "8 of 10 images of split 'train' cannot be used" in error
    assert error.count("is damaged") == 5
    assert "and 3 more" in error


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps(print)], ids=repr)
def test_invalid_weights_file(content: bytes, tmp_path: Path, capsys: Captured) -> None:
    """A weights file is unpickled into nothing but tensors."""
    weights = tmp_path / "weights.pth"
    weights.write_bytes(content)
    data = write_pascal_folder(tmp_path / "data")
    overrides = [
        "--data.root",
        str(data),
        "--input.size",
        "[64, 64]",
        "--out",
        str(tmp_path / "runs"),
    ]
    assert main(["run", RECIPE, *overrides, "--backbone.weights", str(weights)]) == 2
    assert f"{weights}: cannot be read as weights" in capsys.readouterr().err


def test_png_masks(tmp_path: Path) -> None:
    """Masks can be PNG files instead of arrays."""
    data = write_pascal_folder(tmp_path / "data")
    for path in (data / "gt_masks").iterdir():
        buffer = io.BytesIO()
        Image.fromarray(np.load(path)).save(buffer, "PNG")
        path.with_suffix(".png").write_bytes(buffer.getvalue())
        path.unlink()
    overrides = ["--data.root", str(data), "--input.size", "[64, 64]", "--backbone.weights", "null"]
    overrides += ["--training.batch_size", "4", "--training.max_steps", "1"]
    assert main(["run", RECIPE, *overrides, "--out", str(tmp_path / "runs")]) == 0
