"""`hieraseg predict`: class maps and pictures of a user's own images."""

import json
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hieraseg import Prediction
from hieraseg import predict as job
from hieraseg.cli import main
from hieraseg.inference.segmenter import Segmenter
from hieraseg.runs.predictor import Predictor, Prepared
from hieraseg.runs.segmentation import Segmentation
from tests.support.oracle_plugin import leaf_colors
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


def tree(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def outputs(*ids: str) -> list[str]:
    """The files that belong to images, and the lists of classes and of images."""
    ends = ("", "_level1", "_level2", "_level3")
    return sorted(
        ["classes.json", "predictions.json", *(f"{one}{end}.png" for one in ids for end in ends)]
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of images with sub-folders, hidden files, a loop of links, and other files."""
    folder = tmp_path / "in"
    for name in ("a.png", "b.c.JPG", "sub/deeper/b.png", ".trash/d.png", "sub/._b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / "sub/empty").mkdir()
    (folder / "sub/loop").symlink_to(folder)
    os.mkfifo(folder / "sub/pipe.png")  # reading it would never end
    return folder


def test_folders_are_searched(trained_run: Path, folder: Path, capsys: Captured) -> None:
    out = folder / "sub/out"
    command = ["predict", str(trained_run), str(folder), "--out", str(out)]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert tree(out) == outputs("a", "b.c", "sub/deeper/b")
    assert captured.out.split() == [
        str(out / name) for name in ("a.png", "b.c.png", "sub/deeper/b.png")
    ]
    skipped = f"skipped 1 of 4 files, whose suffix is not of an image: {folder / 'notes.txt'}"
    assert skipped in captured.err
    assert main(command) == 0, "outputs are not images to predict"
    assert tree(out) == outputs("a", "b.c", "sub/deeper/b")


def test_a_folder_without_images(trained_run: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/.hidden.png").touch()
    assert main(["predict", str(trained_run), str(tmp_path / "in"), "--out", "out"]) == 3
    assert "has no images" in capsys.readouterr().err


def test_an_image_is_predicted_once(trained_run: Path, folder: Path, capsys: Captured) -> None:
    images = [str(folder), str(folder / "a.png"), str(folder / "sub/deeper/b.png")]
    out = folder.parent / "out"
    assert main(["predict", str(trained_run), *images, "--out", str(out)]) == 0
    assert tree(out) == outputs("a", "b", "b.c", "sub/deeper/b")
    assert len(capsys.readouterr().out.split()) == 4


def test_written_files_are_listed_before_an_error(
    trained_run: Path, folder: Path, capsys: Captured
) -> None:
    (folder / "a.png").write_bytes(b"no image")
    (folder / "sub/deeper/empty.png").symlink_to(folder / "missing.png")
    out = folder.parent / "out"
    options = ["--out", str(out), "--json"]
    assert main(["predict", str(trained_run), str(folder), *options]) == 3
    captured = capsys.readouterr()
    figures = [one["figure"] for one in json.loads(captured.out)]
    assert figures == [str(out / "b.c.png"), str(out / "sub/deeper/b.png")]
    assert "2 of 4 images cannot be predicted" in captured.err
    assert str(folder / "a.png") in captured.err
    assert str(folder / "sub/deeper/empty.png") in captured.err


def test_names_that_are_not_utf8(trained_run: Path, tmp_path: Path, capsys: Captured) -> None:
    folder, out = tmp_path / os.fsdecode(b"\xe4"), tmp_path / "out"
    folder.mkdir()
    Image.new("RGB", (20, 30)).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", folder / os.fsdecode(b"caf\xe9.png"))
    (folder / os.fsdecode(b"broken\xff.png")).touch()
    assert main(["predict", str(trained_run), str(folder), "--out", str(out)]) == 3
    captured = capsys.readouterr()
    assert captured.out.strip().endswith(r"caf\udce9.png")
    assert r"broken\udcff.png" in captured.err
    assert (out / os.fsdecode(b"caf\xe9.png")).is_file()


def test_files_beside_the_images_are_never_overwritten(
    trained_run: Path, tmp_path: Path, capsys: Captured
) -> None:
    """A picture and its mask often have one stem; only one of them is an image to predict."""
    Image.new("RGB", (20, 30)).save(tmp_path / "a.jpg")
    (tmp_path / "a.png").write_text("mask")
    command = ["predict", str(trained_run), str(tmp_path / "a.jpg"), "--out", str(tmp_path)]
    assert main(command) == 2
    assert "exists beside the images; choose another --out" in capsys.readouterr().err
    assert tree(tmp_path) == ["a.jpg", "a.png"]
    for index in ("classes.json", "predictions.json"):
        (tmp_path / "a.png").unlink()
        (tmp_path / "a.png").with_name(index).write_text("of the data set")
        assert main(command) == 2
        assert f"{index} exists beside the images" in capsys.readouterr().err
        assert tree(tmp_path) == ["a.jpg", index]
        (tmp_path / index).rename(tmp_path / "a.png")


def test_links_in_the_output_are_not_followed(trained_run: Path, tmp_path: Path) -> None:
    images, out, elsewhere = tmp_path / "in", tmp_path / "out", tmp_path / "elsewhere"
    for folder in (images / "sub", out, elsewhere):
        folder.mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        Image.new("RGB", (20, 30)).save(images / name)
    (elsewhere / "precious.png").write_text("precious")
    (out / "a.png").symlink_to(elsewhere / "precious.png")
    assert main(["predict", str(trained_run), str(images / "a.png"), "--out", str(out)]) == 0
    (out / "sub").symlink_to(elsewhere)
    assert main(["predict", str(trained_run), str(images), "--out", str(out)]) == 3
    assert tree(elsewhere) == ["precious.png"]
    assert (elsewhere / "precious.png").read_text() == "precious"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
        ),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_an_image_that_needs_too_much_memory_does_not_stop_others(
    error: Exception,
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    scores = Segmenter.scores

    def limited(self: Segmenter, predictions: list[Prediction], size: tuple[int, ...]) -> object:
        if size[0] * size[1] > 1000:
            raise error
        return scores(self, predictions, size)

    monkeypatch.setattr(Segmenter, "scores", limited)
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    Image.new("RGB", (20, 30)).save(tmp_path / "b.png")
    out = tmp_path / "out"
    assert main(["predict", str(trained_run), str(tmp_path), "--out", str(out)]) == 3
    captured = capsys.readouterr()
    assert captured.out.split() == [str(out / "b.png")]
    kind = "GPU" if isinstance(error, torch.OutOfMemoryError) else "main"
    assert f"a.png: 50 x 40 pixels need more {kind} memory than there is" in captured.err


def test_other_errors_are_not_hidden(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of the code")

    monkeypatch.setattr(Segmenter, "scores", broken)
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    with pytest.raises(RuntimeError, match="a fault of the code"):
        main(["predict", str(trained_run), str(tmp_path / "a.png"), "--out", str(tmp_path / "o")])


def test_a_long_name_does_not_stop_others(
    trained_run: Path, tmp_path: Path, capsys: Captured
) -> None:
    images, out = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    for name in ("a" * 250 + ".png", "b.png"):
        Image.new("RGB", (20, 30)).save(images / name)
    assert main(["predict", str(trained_run), str(images), "--out", str(out)]) == 3
    captured = capsys.readouterr()
    assert captured.out.split() == [str(out / "b.png")]
    assert "shorten the name" in captured.err


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (1, 1)])
def test_odd_sizes(size: tuple[int, int], trained_run: Path, tmp_path: Path) -> None:
    Image.new("RGB", size).save(tmp_path / "a.png")
    out = tmp_path / "out"
    assert main(["predict", str(trained_run), str(tmp_path / "a.png"), "--out", str(out)]) == 0
    assert Image.open(out / "a_level3.png").size == size
    assert max(Image.open(out / "a.png").size) < 4000


@pytest.mark.parametrize(
    ("options", "sees_stripes"),
    [
        ((), False),
        (("--scales", "8"), True),
        (("--window", "32", "32"), True),
        (("--window", "500", "60"), True),
        (("--window", "32", "32", "--flip", "--scales", "1", "2"), True),
        (("--window", "32", "32", "--scales", "0.125"), False),
    ],
)
def test_windows_see_the_own_resolution_of_a_photo(
    options: tuple[str, ...], sees_stripes: bool, oracle_run: Path, tmp_path: Path, capsys: Captured
) -> None:
    """Stripes that are lost when the image is reduced to the input size of 32 x 32."""
    leaves = np.arange(256) // 4 % 2 + 2
    colors = leaf_colors(7)[leaves]
    photo, out = tmp_path / "stripes.png", tmp_path / "out"
    Image.fromarray(np.repeat(colors[None], 256, axis=0)).save(photo)
    assert main(["predict", str(oracle_run), str(photo), "--out", str(out), *options]) == 0
    assert "warning" not in capsys.readouterr().err
    correct = (np.asarray(Image.open(out / "stripes_level3.png")) == leaves).mean()
    assert (correct > 0.99) if sees_stripes else (correct < 0.6)


def test_all_images_that_fail_are_named(
    trained_run: Path, tmp_path: Path, capsys: Captured
) -> None:
    images = [tmp_path / f"broken{index}.png" for index in range(12)]
    for image in images:
        image.touch()
    assert main(["predict", str(trained_run), str(tmp_path), "--out", str(tmp_path / "o")]) == 3
    captured = capsys.readouterr()
    assert all(str(image) in captured.err for image in images)
    assert captured.out == ""


def test_outputs_on_request(trained_run: Path, folder: Path, capsys: Captured) -> None:
    out = folder.parent / "out"
    options = ["--no-figures", "--overlays", "--scores", "--json", "--device", "cpu"]
    assert main(["predict", str(trained_run), str(folder), "--out", str(out), *options]) == 0
    levels = (1, 2, 3)
    expected = ["classes.json", "predictions.json"]
    for id in ("a", "b.c", "sub/deeper/b"):
        expected += [f"{id}_{what}{level}.png" for what in ("level", "overlay") for level in levels]
        expected.append(f"{id}_scores.npz")
    assert tree(out) == sorted(expected)
    first, *_, last = read_json(out / "predictions.json")
    assert last == {
        "image": str(folder / "sub/deeper/b.png"),
        "classes": [f"sub/deeper/b_level{level}.png" for level in levels],
        "overlays": [f"sub/deeper/b_overlay{level}.png" for level in levels],
        "scores": "sub/deeper/b_scores.npz",
    }
    printed = json.loads(capsys.readouterr().out)
    assert printed[0]["scores"] == str(out / first["scores"])
    with np.load(out / "a_scores.npz") as scores:
        assert [(one.shape, one.dtype) for one in scores.values()] == [
            ((classes, 30, 20), np.float16) for classes in (2, 3, 7)
        ]
        assert all((one >= 0).all() and (one <= 1).all() for one in scores.values())


def test_the_list_of_classes(trained_run: Path, folder: Path) -> None:
    """With what it takes to show class maps elsewhere."""
    out = folder.parent / "out"
    assert main(["predict", str(trained_run), str(folder / "a.png"), "--out", str(out)]) == 0
    classes = read_json(out / "classes.json")
    assert classes["background"] == "background"
    parents = {
        classes["level3"][child]: classes["level2"][parent]
        for child, parent in enumerate(classes["parents"]["level3"])
    }
    assert parents["head"] == "upper_body"
    assert parents["low_leg"] == "lower_body"
    for level in ("level1", "level2", "level3"):
        palette = Image.open(out / f"a_{level}.png").getpalette() or []
        colors = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in batched(palette)]
        assert classes["colors"][level] == colors[: len(classes[level])]


def batched(palette: list[int]) -> list[list[int]]:
    """The colors of a palette."""
    return [palette[start : start + 3] for start in range(0, len(palette), 3)]


def test_images_do_not_pile_up(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few are in memory at a time, however many there are."""
    for index in range(18):
        Image.new("RGB", (9, 8)).save(tmp_path / f"{index}.png")
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    prepare = Predictor.prepare

    def counted(self: Predictor, image: Any) -> Prepared:
        nonlocal most
        prepared = prepare(self, image)
        alive.append(weakref.ref(prepared.image))
        most = max(most, sum(one() is not None for one in list(alive)))
        return prepared

    monkeypatch.setattr(Predictor, "prepare", counted)
    out = tmp_path / "out"
    assert main(["predict", str(trained_run), str(tmp_path), "--out", str(out), "--scores"]) == 0
    assert len(alive) == 18
    assert most <= 13  # of 4 threads: 5 read, 5 written, and some in between


def test_large_images_are_predicted_one_at_a_time(
    trained_run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """With the same outputs, and the same problems."""
    (folder / "sub/broken.png").write_bytes(b"no image")
    command = ["predict", str(trained_run), str(folder), "--scores", "--overlays", "--out"]
    few, alone = folder.parent / "few", folder.parent / "alone"
    assert main([*command, str(few)]) == 3
    problem = capsys.readouterr().err
    monkeypatch.setattr(job, "_LARGE", 100)
    assert main([*command, str(alone)]) == 3
    assert capsys.readouterr().err == problem
    assert tree(few) == tree(alone)
    for file in tree(few):
        assert (few / file).read_bytes() == (alone / file).read_bytes(), file


def test_an_interrupt_leaves_whole_files(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    for index in range(9):
        Image.new("RGB", (9, 8)).save(tmp_path / f"{index}.png")
    predict = Predictor.predict
    started: list[Prepared] = []

    def interrupted(self: Predictor, image: Prepared, scores: bool = True) -> Segmentation:
        started.append(image)
        if len(started) == 6:
            raise KeyboardInterrupt
        return predict(self, image, scores)

    monkeypatch.setattr(Predictor, "predict", interrupted)
    out = tmp_path / "out"
    assert main(["predict", str(trained_run), str(tmp_path), "--out", str(out)]) == 130
    assert tree(out) == outputs("0", "1", "2", "3", "4")
    for file in out.glob("*.png"):
        Image.open(file).load()
    listed = [Path(one["figure"]) for one in read_json(out / "predictions.json")]
    assert [str(out / figure) for figure in listed] == capsys.readouterr().out.split()
