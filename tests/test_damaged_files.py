"""Thousands of damaged files: each is refused with a sentence, rebuilt, or read as what it says.

`HIERASEG_DAMAGED_FILES` and `HIERASEG_FUZZ_SEED` change how many files of each group are tried, and
which.
"""

import io
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hieraseg import Hierarchy, registry
from hieraseg.cli import main
from hieraseg.comparison.counts import read_counts
from hieraseg.data.images import read_image, read_mask
from hieraseg.data.stores.store import open_store
from hieraseg.data.stores.targets import open_targets
from hieraseg.errors import HierasegError
from hieraseg.runs.checkpoint import read_metadata, read_state
from hieraseg.settings import Input
from tests.support.counted_runs import row_of, write_run
from tests.support.damage import damage
from tests.support.oracle import PLUGIN, oracle_component
from tests.support.pascal_part import write_pascal_folder

FILES = int(os.environ.get("HIERASEG_DAMAGED_FILES", "40"))
TREES = {
    ".yaml": "tree: {bg: null, body: {arms: [left, right], legs: null}}\nlabels: {0: bg, 1: left, "
    "2: right, 3: body, 4: legs}\nvoid: [255]\nbackground: bg\npairs: [[left, right]]\n",
    ".txt": "bg\nbody  # a comment\n  arms\n    left\n    right\n  legs\n",
    ".csv": "child,parent\nbg,\nbody,\narms,body\nlegs,body\nleft,arms\nright,arms\n",
}
SEED = int(os.environ.get("HIERASEG_FUZZ_SEED", "0"))


def damaged(file: Path) -> Iterator[bytes]:
    """Damaged copies of the content that a file has now."""
    source, content = random.Random(f"{SEED} {file.name}"), file.read_bytes()
    return (damage(content, source) for _ in range(FILES))


def attempt(read: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """What a function returns, or else the message of the error that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return read(*arguments), ""
        except (HierasegError, ValueError) as error:
            return None, str(error)


def hieraseg(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


def write_image(folder: Path, suffix: str) -> Path:
    """An image file of random pixels, with EXIF data where the format has it."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation
    file = folder / f"image{suffix}"
    Image.fromarray(pixels).save(file, exif=exif)
    return file


def write_mask(folder: Path, suffix: str) -> Path:
    """A mask file of seven labels; of 300 where the format has 16 bits."""
    labels = np.random.default_rng(0).integers(0, 7, (24, 32), np.uint8)
    file = folder / f"mask{suffix}"
    if suffix == ".npy":
        np.save(file, labels)
    elif suffix == ".tif":
        Image.fromarray(labels.astype(np.uint16) * 50).save(file)
    else:
        Image.fromarray(labels).save(file)
    return file


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_images(tmp_path: Path, suffix: str) -> None:
    file = write_image(tmp_path, suffix)
    assert read_image(file).shape == (32, 24, 3)
    for content in damaged(file):
        file.write_bytes(content)
        pixels, message = attempt(read_image, file)
        assert str(file) in message if pixels is None else pixels.dtype == np.uint8


@pytest.mark.parametrize("suffix", [".png", ".npy", ".tif"])
def test_masks(tmp_path: Path, suffix: str) -> None:
    file = write_mask(tmp_path, suffix)
    for content in damaged(file):
        file.write_bytes(content)
        labels, message = attempt(read_mask, file)
        assert str(file) in message if labels is None else labels.dtype in (np.uint8, np.uint16)


@pytest.mark.parametrize("name", ["train_id.txt", "val_id.txt", "classes.txt"])
def test_lists(tmp_path: Path, name: str) -> None:
    root = write_pascal_folder(tmp_path / "data", images=4)
    dataset = registry.datasets.get("pascal_part")
    hierarchy = registry.hierarchies.get("pascal_part")()
    for content in damaged(root / name):
        (root / name).write_bytes(content)

        ids, message = attempt(lambda: [dataset(hierarchy, root).ids(s) for s in dataset.splits])
        assert name in message if ids is None else all(map(all, ids))


@pytest.mark.parametrize("suffix", [".yaml", ".txt", ".csv"])
def test_trees(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"tree{suffix}"
    file.write_text(TREES[suffix])
    for content in damaged(file):
        file.write_bytes(content)
        hierarchy, message = attempt(Hierarchy.from_file, file)
        assert str(file) in message if hierarchy is None else len(hierarchy.paths) > 0


def test_plugins(tmp_path: Path) -> None:
    file = tmp_path / "plugin.py"
    file.write_bytes(PLUGIN.read_bytes())
    for content in damaged(file):
        file.write_bytes(content)
        code, out, err = hieraseg("list", "data", "--plugin", str(file), "--json")
        assert code in (0, 2)
        assert json.loads(out) if code == 0 else str(file) in err


def test_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is damaged, a store has the right images: those damaged alone are decoded again."""
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    hierarchy = registry.hierarchies.get("pascal_part")()
    dataset = oracle_component("datasets", "rectangles")(hierarchy)

    def content_of() -> list[Any]:
        store = open_store(dataset, "train", hierarchy, Input(size=(20, 30)), levels=3)
        targets = open_targets(dataset, "train", hierarchy)
        rows = range(len(store))
        images = [store.image(row, level) for row in rows for level in range(3)]
        masks = [one.mask(row) for row in rows for one in (store, targets)]
        return [store.ids, store.fingerprint, store.label_pixels, *images, *masks]

    expected = [np.array(part) for part in content_of()]
    files = [file for file in tmp_path.glob("cache/*/*") if file.is_file()]
    assert len([file for file in files if file.suffix == ".bin"]) == 5
    contents = {file: iter([*damaged(file), *same_size(file)]) for file in files}
    told = io.StringIO()
    for number in range(2 * FILES):
        file = files[number % len(files)]
        file.write_bytes(next(contents[file]))
        with redirect_stderr(told):
            found, message = attempt(content_of)
        assert not message
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(one, other), f"{file.name}, case {number}"
    assert "is damaged, so it is built again" in told.getvalue()
    assert "is damaged, so some images are decoded again" in told.getvalue()


def same_size(file: Path) -> Iterator[bytes]:
    """Damaged copies of a file that have its size."""
    size = file.stat().st_size
    return (content.ljust(size, b"x")[:size] for content in damaged(file))


CHECKPOINT_FILES = ("model.safetensors", "state.pt")


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_checkpoints(oracle_run: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(oracle_run / "checkpoints" / "last", tmp_path / "last"))
    expected = read_state(folder), read_metadata(folder)
    for content in damaged(folder / name):
        (folder / name).write_bytes(content)
        found, message = attempt(lambda: (read_state(folder), read_metadata(folder)))
        assert str(folder) in message if found is None else same(found, expected)


def same(one: Any, other: Any) -> bool:
    """Whether nested values with tensors are equal."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


RUN_FILES = ("recipe.yaml", "result.json", "provenance.json", "metrics.jsonl")


@pytest.mark.parametrize("rest", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", RUN_FILES)
def test_run_folders(oracle_run: Path, tmp_path: Path, name: str, rest: bool) -> None:
    """A damaged run is refused or left out with a warning; the run beside it is compared."""
    runs = tmp_path / "runs" / "oracle"
    good = shutil.copytree(oracle_run, runs / "good-seed0")
    broken = Path(shutil.copytree(oracle_run, runs / "broken-seed0"))
    _, alone, _ = hieraseg("compare", str(good), "--json")
    (expected,) = json.loads(alone)["rows"]
    # A damaged setting makes the rows differ; and the run that is damaged may be read right.
    unlike = {"recipe": "", "runs": [], "settings": {}, "marks": []}
    for number, content in enumerate(damaged(broken / name)):
        if (number % 4 > 0) != rest:  # one of four, or the others
            continue
        (broken / name).write_bytes(content)
        code, out, err = hieraseg("compare", str(runs), "--json")
        assert code == 0
        rows = json.loads(out)["rows"]
        assert any(row | unlike == expected | unlike for row in rows)
        # A damaged time of its start can make it the older run of the seed, which is said.
        assert len(rows) == 2 or str(broken) in err or "seed 0 was run 2 times" in err


def test_counts_of_images(tmp_path: Path) -> None:
    """Counts that rows are compared by are read as they were written, or refused."""
    row = row_of("r", write_run(tmp_path / "run"))
    file, expected = tmp_path / "run/evaluation/val.npz", read_counts(row)
    for content in damaged(file):
        file.write_bytes(content)
        found, message = attempt(read_counts, row)
        if found is None:
            assert str(file) in message
            assert "\n" not in message
        else:
            for one, other in zip(found, expected, strict=True):
                assert np.array_equal(one.predicted, other.predicted)
