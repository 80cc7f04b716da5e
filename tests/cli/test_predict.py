"""`hieraseg predict`: class maps and pictures of a user's own images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hieraseg.cli import main
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]


def test_class_maps_have_the_size_of_the_image(trained_run: Path, tmp_path: Path) -> None:
    """There is one class map per level, and the levels agree with each other."""
    photo = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (50, 71, 3), np.uint8)
    Image.fromarray(pixels).save(photo)
    out = tmp_path / "out"
    assert main(["predict", str(trained_run), str(photo), "--out", str(out)]) == 0
    maps = [np.asarray(Image.open(out / f"photo_level{level}.png")) for level in (1, 2, 3)]
    assert [one.shape for one in maps] == [(50, 71)] * 3
    assert ((maps[0] == 0) == (maps[2] == 0)).all()  # background on one level is on all
    assert read_json(out / "classes.json")["level3"][1] == "low_hand"
    assert (out / "photo.png").is_file()


def test_images_are_never_overwritten(trained_run: Path, tmp_path: Path, capsys: Captured) -> None:
    """Output files must not replace an input image or each other."""
    photo = tmp_path / "photo.png"
    Image.new("RGB", (20, 30)).save(photo)
    before = photo.read_bytes()
    assert main(["predict", str(trained_run), str(photo), "--out", str(tmp_path)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert photo.read_bytes() == before
    (tmp_path / "other").mkdir()
    same_stem = tmp_path / "other/photo.jpg"
    Image.new("RGB", (20, 30)).save(same_stem)
    arguments = [str(photo), str(same_stem), "--out", str(tmp_path / "out")]
    assert main(["predict", str(trained_run), *arguments]) == 2
    assert "would both write" in capsys.readouterr().err


def test_unreadable_images_are_skipped(trained_run: Path, tmp_path: Path, capsys: Captured) -> None:
    """The others are predicted, the unreadable ones are named, and the exit code is 3."""
    Image.new("RGB", (20, 30)).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    images = [str(tmp_path / name) for name in ("bad.jpg", "missing.jpg", "good.png")]
    assert main(["predict", str(trained_run), *images, "--out", str(tmp_path / "out")]) == 3
    error = capsys.readouterr().err
    assert "2 of 3 images" in error
    assert "bad.jpg" in error
    assert "missing.jpg: no such image" in error
    assert (tmp_path / "out/good.png").is_file()


def test_not_a_run_folder(tmp_path: Path, capsys: Captured) -> None:
    assert main(["predict", str(tmp_path), "a.png", "--out", "o"]) == 2
    assert "is not a run folder" in capsys.readouterr().err
