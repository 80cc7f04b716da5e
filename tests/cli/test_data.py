"""`hieraseg data`: exact numbers, everything that is wrong with the data, and exit codes."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hieraseg.cli import layout, main
from tests.support.pascal_part import write_pascal_folder
from tests.support.runs import QUICKSTART

TREE = """\
tree:
  background:
  body: [head, leg]
labels: {0: background, 1: head, 2: leg, 3: body}
void: [9]
background: background
"""
Array = np.ndarray


class Data:
    """A recipe, and a folder of its images and masks.

    Args:
        folder: where to write them.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.root = folder / "root"
        self.recipe = folder / "recipe.yaml"
        (folder / "tree.yaml").write_text(TREE)
        self.recipe.write_text(
            f"base: {QUICKSTART}\n"
            f"hierarchy: {{name: file, path: {folder / 'tree.yaml'}}}\n"
            f"data: {{name: folder, root: {self.root}, "
            "images: 'images/{split}/{id}.png', masks: 'masks/{split}/{id}.png'}\n"
        )

    def add(self, id: str, image: Array | Image.Image, mask: Array | Sequence[Any]) -> None:
        """Write an image and its mask; the id is `split/name`."""
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        self._save(self.root / "images" / f"{id}.png", image)
        self._save(self.root / "masks" / f"{id}.png", Image.fromarray(np.array(mask, np.uint8)))

    def break_file(self, path: str, content: bytes = b"no image") -> None:
        """Replace a file."""
        assert (self.root / path).exists()
        (self.root / path).write_bytes(content)

    def _save(self, path: Path, image: Image.Image) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


@pytest.fixture
def report(data: Data, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Runs the command, checks its exit code, and returns its JSON."""

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        assert main(["data", str(data.recipe), "--json", *arguments]) == code
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert result["ok"] == (code == 0)
        return result

    return run


def noise(seed: int, height: int = 2, width: int = 3) -> Array:
    """An image that looks like no other."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def test_counts(data: Data, report: Callable[..., Any]) -> None:
    """All numbers worked out by hand."""
    data.add("train/a", noise(0), [[0, 0, 1], [2, 9, 3]])
    data.add("train/b", noise(1), [[1, 1, 1], [1, 1, 9]])
    data.add("train/c", noise(2, 1, 4), [[0, 3, 3, 3]])
    data.add("val/a", noise(3, 4, 4), np.full((4, 4), 9))
    found = report()
    assert list(found) == [
        *("recipe", "ok", "problems", "warnings", "splits"),
        *("bad_files", "unknown_labels", "duplicates"),
    ]
    assert found["problems"] == found["bad_files"] == found["unknown_labels"] == []
    train = found["splits"]["train"]
    sizes = [{"width": 3, "height": 2, "images": 2}, {"width": 4, "height": 1, "images": 1}]
    assert train["sizes"] == sizes
    counts = (train["images"], train["pixels"], train["void_pixels"])
    assert counts == (3, 16, 2)
    expected = [
        {"background": (3, 2), "body": (11, 3)},
        {"background": (3, 2), "head": (6, 2), "leg": (1, 1)},
    ]
    for level, classes in zip(train["levels"], expected, strict=True):
        assert level["classes"] == {
            name: {"pixels": pixels, "share": pixels / 16, "images": images}
            for name, (pixels, images) in classes.items()
        }
    assert [level["ignored_pixels"] for level in train["levels"]] == [2, 6]
    assert found["splits"]["val"]["levels"][1]["classes"]["leg"]["pixels"] == 0
    assert found["warnings"] == [
        "val: no image has these classes of level 1: background, body",
        "val: no image has these classes of level 2: head, leg",
    ]


def test_masks_of_random_labels(data: Data, report: Callable[..., Any]) -> None:
    """Against counting with NumPy, in all splits."""
    rng = np.random.default_rng(0)
    for split, images in (("train", 7), ("val", 2), ("test", 3)):
        masks = [rng.choice([0, 1, 2, 3, 9], (rng.integers(1, 9), 5)) for _ in range(images)]
        for row, mask in enumerate(masks):
            data.add(f"{split}/{row}", noise(row, *mask.shape), mask)
        found = report(code=3 if split == "train" else 0)["splits"][split]
        for index, values in enumerate(([1, 2, 3], [1])):
            name = ("body", "head")[index]
            one = found["levels"][index]["classes"][name]
            assert one["pixels"] == sum(int(np.isin(mask, values).sum()) for mask in masks)
            assert one["images"] == sum(bool(np.isin(mask, values).any()) for mask in masks)


def test_every_bad_file_is_found(data: Data, report: Callable[..., Any]) -> None:
    for row in range(30):
        data.add(f"train/{row:02}", noise(row), np.zeros((2, 3)))
    data.add("val/a", noise(99), np.zeros((2, 3)))
    for row in range(10):
        data.break_file(f"images/train/{row:02}.png")
    whole = (data.root / "images/train/10.png").read_bytes()
    data.break_file("images/train/10.png", whole[: len(whole) // 2])
    data.break_file("masks/train/10.png", b"")
    data.add("train/11", noise(11), np.zeros((3, 2)))
    data.add("train/12", noise(12), np.zeros((2, 4)))
    Image.new("RGB", (3, 2)).save(data.root / "masks/train/13.png")
    found = report(code=3)
    assert [(bad["split"], bad["id"]) for bad in found["bad_files"]] == [
        ("train", f"train/{row:02}") for row in [*range(11), 10, 11, 12, 13]
    ]
    problems = [bad["problem"] for bad in found["bad_files"]]
    assert all("is damaged" in problem for problem in problems[:12])
    assert "images/train/10.png" in problems[10]
    assert "masks/train/10.png" in problems[11]
    assert problems[12:14] == [
        "train/11: the image is 3x2 pixels, but its mask is 2x3; export the mask upright, as "
        "viewers show the image",
        "train/12: the image is 3x2 pixels, but its mask is 4x2; export the mask again at the "
        "image's size",
    ]
    assert "an image of mode RGB is not a mask" in problems[14]
    assert found["problems"] == [
        "train: 14 of 30 images or their masks cannot be used; fix them, or remove them from the "
        "split"
    ]
    assert found["splits"]["train"]["sizes"] == [{"width": 3, "height": 2, "images": 19}]


def test_all_bad_files_are_printed(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    for row in range(20):
        data.add(f"train/{row:02}", noise(row), np.zeros((2, 3)))
        data.break_file(f"images/train/{row:02}.png")
    data.add("val/a", noise(99), np.zeros((2, 3)))
    assert main(["data", str(data.recipe)]) == 3
    lines = capsys.readouterr().out.splitlines()
    for row in range(20):
        assert sum(line.startswith(f"  train/{row:02}: ") for line in lines) == 1
    assert lines[-1] == "training or evaluation would fail"
    assert not any("train: no image has these classes" in line for line in lines)


def test_unknown_labels(data: Data, report: Callable[..., Any]) -> None:
    data.add("train/a", noise(0), [[0, 7, 7], [0, 0, 1]])
    data.add("train/b", noise(1), [[7, 0, 1], [1, 200, 1]])
    data.add("val/a", noise(2), [[8, 8, 8], [8, 8, 8]])
    found = report(code=3)
    assert found["unknown_labels"] == [
        {"split": "train", "value": 7, "first": "train/a", "pixels": 3, "images": 2},
        {"split": "train", "value": 200, "first": "train/b", "pixels": 1, "images": 1},
        {"split": "val", "value": 8, "first": "val/a", "pixels": 6, "images": 1},
    ]
    assert found["bad_files"] == []
    assert found["splits"]["train"]["pixels"] == 8
    assert found["problems"][0] == (
        "train: the masks have labels that the hierarchy does not: 7, 200; fix the masks, map the "
        "labels in the data set's arguments, or add them to the hierarchy"
    )


def test_images_in_two_splits(data: Data, report: Callable[..., Any]) -> None:
    mask = np.zeros((60, 80))
    for row in range(5):
        data.add(f"train/{row}", noise(row, 60, 80), mask)
    content = io.BytesIO()
    Image.fromarray(noise(1, 60, 80)).save(content, "JPEG", quality=60)
    data.add("val/copy", noise(3, 60, 80), mask)
    data.add("val/jpeg", Image.open(content), mask)
    data.add("val/other", noise(50, 60, 80), mask)
    data.add("test/again", noise(50, 60, 80), mask)
    data.add("test/again2", noise(50, 60, 80), mask)
    found = report()
    pairs = {tuple(one["splits"]): (one["same"], one["alike"]) for one in found["duplicates"]}
    order = list(found["splits"])
    assert len(pairs) == 6
    assert pairs["train", "val"] == ([["train/3", "val/copy"]], [["train/1", "val/jpeg"]])
    assert pairs["test", "test"] == ([["test/again", "test/again2"]], [])
    assert pairs["train", "train"] == pairs["val", "val"] == ([], [])
    same, alike = pairs[
        ("test", "val") if order.index("test") < order.index("val") else ("val", "test")
    ]
    assert len(same) == (1 if order.index("test") < order.index("val") else 2)
    assert alike == []
    warned = [warning for warning in found["warnings"] if "images" in warning]
    assert any(
        warning.startswith("val: images that are also in train: 1, such as 'val/copy'")
        for warning in warned
    )
    assert any("look like images of train: 1" in warning for warning in warned)
    assert any("test: images that repeat another one of the split: 1" in one for one in warned)


def test_one_split(data: Data, report: Callable[..., Any]) -> None:
    data.add("train/a", noise(0), np.zeros((2, 3)))
    data.add("val/a", noise(1), np.zeros((2, 3)))
    data.break_file("images/train/a.png")
    assert list(report("--split", "val")["splits"]) == ["val"]
    report("--split", "train", code=3)


def test_splits_that_training_needs(data: Data, report: Callable[..., Any]) -> None:
    data.add("train/a", noise(0), np.zeros((2, 3)))
    assert (
        "data: the data set has no split 'val', which training needs; it has train: call one of "
        "them so"
    ) in report(code=3)["problems"]
    data.add("val/a", noise(1), np.zeros((2, 3)))
    data.add("val/b", noise(2), np.zeros((2, 3)))
    (data.root / "masks/val/b.png").unlink()
    found = report(code=3)
    assert list(found["splits"]) == ["train"], "val cannot be listed"
    assert any("val" in problem and "missing" in problem for problem in found["problems"])
    assert report("--split", "val", code=3)["splits"] == {}
    assert main(["data", str(data.recipe), "--split", "val"]) == 3


def test_sides_that_a_flip_would_mix_up(data: Data, report: Callable[..., Any]) -> None:
    tree = TREE.replace("head", "left_leg").replace(" leg", " right_leg")
    (data.root.parent / "tree.yaml").write_text(tree)
    for id in ("train/a", "val/a"):
        data.add(id, noise(ord(id[0])), [[0, 1, 2], [0, 1, 2]])
    (warning,) = report()["warnings"]
    assert "images are flipped, but the tree does not say that left_leg and right_leg" in warning
    assert report("--augmentation.flip", "0")["warnings"] == []


@pytest.mark.parametrize("defect", ["image", "mask", "label", "size", "no val", "no mask", None])
def test_training_agrees(
    defect: str | None, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    """`hieraseg run` refuses what this command calls a problem, and nothing else."""
    mask = np.zeros((32, 32))
    for id in ("train/a", "train/b", "val/a"):
        data.add(id, noise(len(id) + ord(id[-1]), 32, 32), mask)
    if defect in ("image", "mask"):
        data.break_file(f"{defect}s/train/a.png")
    elif defect == "label":
        data.add("val/a", noise(5, 32, 32), mask + 4)
    elif defect == "size":
        data.add("train/b", noise(5, 32, 32), mask[:, 1:])
    elif defect == "no val":
        (data.root / "images/val/a.png").unlink()
    elif defect == "no mask":
        (data.root / "masks/train/a.png").unlink()
    assert main(["data", str(data.recipe)]) == (3 if defect else 0)
    words = [*("--backbone.weights", "null", "--input.size", "[32, 32]", "--decoder.width", "8")]
    words += [*("--training.max_steps", "1", "--training.batch_size", "2", "--out", str(data.root))]
    code = main(["run", str(data.recipe), *words])
    assert code == (0 if defect is None else 2 if defect == "no val" else 3)
    assert "Traceback" not in capsys.readouterr().err


def test_joined_data_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = Data(tmp_path / "one"), Data(tmp_path / "other")
    one.add("train/a", noise(0), np.ones((2, 3)))
    one.add("val/a", noise(1), np.ones((2, 3)))
    other.add("train/a", noise(0), np.full((2, 3), 5))
    described = [
        f"{{name: folder, root: {data.root}, images: 'images/{{split}}/{{id}}.png', "
        "masks: 'masks/{split}/{id}.png'}"
        for data in (one, other)
    ]
    one.recipe.write_text(
        f"base: {QUICKSTART}\n"
        f"hierarchy: {{name: file, path: {tmp_path / 'one/tree.yaml'}}}\n"
        f"data: {{name: concat, datasets: [{', '.join(described)}]}}\n"
    )
    assert main(["data", str(one.recipe), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["splits"]["train"]["images"] == 2
    assert found["unknown_labels"][0]["first"] == "2/train/a"
    assert found["duplicates"][0]["same"] == [["1/train/a", "2/train/a"]]


@pytest.mark.parametrize("width", [80, 100, None])
def test_report_fits_the_terminal(
    width: int | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = write_pascal_folder(tmp_path / "pascal_part", holdout=2)
    monkeypatch.setattr(layout, "terminal_width", lambda: width)
    words = ["data", QUICKSTART, "--data", "pascal_part", "--data.root", str(root)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= (width or 1000)
    for word in ("train", "val", "holdout", "level 3", "up_hand", "lower_body"):
        assert word in out
    assert out.endswith("the data can be used\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a RECIPE"),
        ([QUICKSTART, "--split", "tset"], "--split tset: the data set has train, val, holdout"),
        ([QUICKSTART, "--sheet", "a.jpeg"], "must end with .png"),
        ([QUICKSTART, "--clean"], "--clean: concerns all recipes; remove"),
        ([QUICKSTART, "--dry-run"], "--dry-run: belongs to --clean"),
        ([QUICKSTART, "--data.sede", "3"], "did you mean 'seed'"),
        (["nowhere.yaml"], "nowhere.yaml"),
        ([QUICKSTART, "--images", "0"], "must be a positive integer, got '0'"),
        (["--clean", "soon"], "must be a non-negative integer, got 'soon'"),
    ],
)
def test_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_missing_folder(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", QUICKSTART, "--data", "pascal_part", "--data.root", "/nowhere"]
    assert main(words) == 3
    assert "/nowhere: no such data folder" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    out = capsys.readouterr().out
    assert "hieraseg data --clean --dry-run" in out
    assert "Exit code 0" in out


@pytest.mark.parametrize(
    ("bits", "advice"),
    [(10, "no value above 3 of 255"), (12, "values that fill 12 bits by 16, also"), (14, "by 4,")],
)
def test_dark_images_of_16_bits(
    data: Data, report: Callable[..., dict[str, Any]], bits: int, advice: str
) -> None:
    for split in ("train", "val"):
        for index, brightest in enumerate((2**bits - 1, 2**bits // 2, 0xFFFF)):
            gray = np.linspace(0, brightest if split == "train" else 0xFFFF, 64).astype(np.uint16)
            data.add(f"{split}/{index}", Image.fromarray(gray.reshape(8, 8)), [[1] * 8] * 8)
    (said,) = [one for one in report()["warnings"] if "nearly black" in one]
    assert said.startswith("train: 2 of 3 images are nearly black, with no value above ")
    assert "such as 'train/0'; of files with 16 bits the upper 8 are read" in said
    assert advice in said
