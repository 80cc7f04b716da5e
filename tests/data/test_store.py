"""The decoded-image store: built once, whole or not at all."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hieraseg import Hierarchy
from hieraseg.data import store as store_module
from hieraseg.data.store import Store, cache_folder, open_store
from hieraseg.errors import DataError

HIERARCHY = Hierarchy.from_tree(
    {"background": None, "body": ["head", "leg"]}, labels=["background", "head", "leg"], void=[255]
)


@dataclass
class FakeDataset:
    """Random pictures; says how often it was asked for one."""

    size: tuple[int, int] = (6, 8)
    version: str = "1"
    length: int = 5
    shape: tuple[int, int] = (12, 10)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    splits: tuple[str, ...] = ("train", "val")
    calls: list[str] = field(default_factory=list)

    def ids(self, split: str) -> list[str]:
        return [f"{split}{i}" for i in range(self.length)]

    def image(self, id: str) -> np.ndarray:
        self.calls.append(id)
        return _random(id).integers(0, 256, (*self.shape, 3), dtype=np.uint8)

    def mask(self, id: str) -> np.ndarray:
        drawn = _random(id).choice(np.array([0, 1, 2, 255], np.uint8), self.shape)
        return self.masks.get(id, drawn)

    def fingerprint(self, split: str) -> str:
        return f"{split} {self.version}"


def _random(id: str) -> np.random.Generator:
    return np.random.default_rng(list(id.encode()))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _stores(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def test_the_store_holds_the_resized_split() -> None:
    dataset = FakeDataset()
    store = open_store(dataset, "train", HIERARCHY)
    assert store.ids == dataset.ids("train")
    assert len(store) == 5
    assert store.images.shape == (5, 6, 8, 3)
    assert store.masks.shape == (5, 6, 8)
    for row, id in enumerate(store.ids):
        image = Image.fromarray(dataset.image(id)).resize((8, 6), Image.Resampling.BILINEAR)
        mask = Image.fromarray(dataset.mask(id)).resize((8, 6), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(store.images[row], np.asarray(image))
        np.testing.assert_array_equal(store.masks[row], np.asarray(mask))


def test_images_of_the_models_size_are_kept_as_they_are() -> None:
    dataset = FakeDataset(size=(12, 10))
    store = open_store(dataset, "val", HIERARCHY)
    np.testing.assert_array_equal(store.images[2], dataset.image("val2"))
    np.testing.assert_array_equal(store.masks[2], dataset.mask("val2"))


def test_the_second_time_nothing_is_decoded(cache: Path) -> None:
    dataset = FakeDataset()
    first = open_store(dataset, "train", HIERARCHY)
    assert sorted(dataset.calls) == dataset.ids("train")
    second = open_store(dataset, "train", HIERARCHY)
    assert len(dataset.calls) == 5
    np.testing.assert_array_equal(first.images, second.images)
    assert (first.ids, first.fingerprint) == (second.ids, second.fingerprint)
    assert len(_stores(cache)) == 1


def test_what_changes_the_content_makes_another_store(cache: Path) -> None:
    one_more = Hierarchy.from_tree(["background", "head", "leg", "arm"], void=[255])
    variants = [
        (FakeDataset(), "train", HIERARCHY),
        (FakeDataset(version="2"), "train", HIERARCHY),
        (FakeDataset(size=(8, 6)), "train", HIERARCHY),
        (FakeDataset(), "val", HIERARCHY),
        (FakeDataset(), "train", one_more),
    ]
    for number, (dataset, split, hierarchy) in enumerate(variants, 1):
        open_store(dataset, split, hierarchy)
        assert dataset.calls, "decoded"
        assert len(_stores(cache)) == number


def test_arrays_are_mapped_and_read_only() -> None:
    store = open_store(FakeDataset(), "train", HIERARCHY)
    for array in (store.images, store.masks):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_fingerprint_is_of_the_content() -> None:
    def fingerprint(dataset: FakeDataset) -> str:
        return open_store(dataset, "train", HIERARCHY).fingerprint

    first = fingerprint(FakeDataset())
    assert len(first) == 64
    assert fingerprint(FakeDataset(version="a touched file")) == first
    assert fingerprint(FakeDataset(size=(4, 4))) == first, "before resizing"
    changed = FakeDataset().mask("train3").copy()
    changed[0, 0] = (changed[0, 0] + 1) % 3
    others = [
        FakeDataset(version="3", masks={"train3": changed}),
        FakeDataset(version="4", length=4),
    ]
    assert len({first, *map(fingerprint, others)}) == 3


def test_turned_pictures_of_one_colour_differ_in_fingerprint() -> None:
    class Black(FakeDataset):
        def image(self, id: str) -> np.ndarray:
            return np.zeros((*self.shape, 3), np.uint8)

        def mask(self, id: str) -> np.ndarray:
            return np.zeros(self.shape, np.uint8)

    shapes = [(12, 10), (10, 12)]
    made = {
        open_store(Black(shape=shape, version=str(shape)), "train", HIERARCHY).fingerprint
        for shape in shapes
    }
    assert len(made) == 2


def test_an_unknown_label_is_named() -> None:
    mask = np.zeros((12, 10), np.uint8)
    mask[3, 4] = 7
    with pytest.raises(DataError) as caught:
        open_store(FakeDataset(masks={"train2": mask}), "train", HIERARCHY)
    assert str(caught.value).startswith("train2: the mask has the label 7")
    assert "0, 1, 2, 255" in str(caught.value)


def test_a_mask_of_another_size_is_named() -> None:
    masks = {"train1": np.zeros((10, 12), np.uint8)}
    with pytest.raises(DataError) as caught:
        open_store(FakeDataset(masks=masks), "train", HIERARCHY)
    assert str(caught.value).startswith(
        "train1: the image is 10x12 pixels, but its mask is 12x10"
    ), "width x height"


def test_many_bad_files_are_counted_and_the_first_few_shown(cache: Path) -> None:
    masks = {f"train{i}": np.full((12, 10), 9, np.uint8) for i in range(1, 9)}
    with pytest.raises(DataError) as caught:
        open_store(FakeDataset(length=10, masks=masks), "train", HIERARCHY)
    lines = str(caught.value).splitlines()
    assert lines[0] == "8 of 10 images of split 'train' cannot be used:"
    assert [line.split(":")[0].strip() for line in lines[1:6]] == [f"train{i}" for i in range(1, 6)]
    assert lines[6].strip() == "... and 3 more"
    assert _stores(cache) == [], "nothing is left behind"


def test_data_that_was_mended_is_built(cache: Path) -> None:
    bad = FakeDataset(masks={"train2": np.full((12, 10), 9, np.uint8)})
    with pytest.raises(DataError):
        open_store(bad, "train", HIERARCHY)
    bad.masks.clear()
    assert len(open_store(bad, "train", HIERARCHY)) == 5


def test_a_cache_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="HIERASEG_CACHE") as caught:
        open_store(FakeDataset(), "train", HIERARCHY)
    assert str(caught.value).startswith(str(tmp_path / "file" / "cache"))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no such call on this system")
def test_a_full_disk_is_found_before_anything_is_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing a mapped file's missing block would kill the process with SIGBUS."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module.os, "posix_fallocate", full)
    dataset = FakeDataset()
    with pytest.raises(DataError, match=r"No space left on device.*HIERASEG_CACHE"):
        open_store(dataset, "train", HIERARCHY)
    assert dataset.calls == []
    assert _stores(cache) == []


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder().name == "cache"
    monkeypatch.delenv("HIERASEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/hieraseg")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/anna")
    assert cache_folder() == Path("/home/anna/.cache/hieraseg")


# Run by a process of its own: builds a store slowly, and notes every image that it decodes.
_BUILDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.data.test_store import FakeDataset, HIERARCHY
from hieraseg.data.store import open_store

class Slow(FakeDataset):
    def image(self, id):
        with open(sys.argv[2], "a") as notes:
            notes.write(id + "\\n")
        time.sleep(float(sys.argv[3]))
        return super().image(id)

print(open_store(Slow(length=8), "train", HIERARCHY).fingerprint)
"""


def _start_builder(notes: Path, seconds: float) -> subprocess.Popen[str]:
    """Its decoding of each image takes so many seconds."""
    arguments = [str(Path(__file__).parent), str(notes), str(seconds)]
    return subprocess.Popen(
        [sys.executable, "-c", _BUILDER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _wait_for(notes: Path, process: subprocess.Popen[str]) -> None:
    """Until the process decodes."""
    deadline = time.monotonic() + 60
    while not notes.exists():
        assert process.poll() is None, "it ended before it decoded anything"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_processes_build_one_store(tmp_path: Path, cache: Path) -> None:
    notes = tmp_path / "notes"
    builders = [_start_builder(notes, 0.05) for _ in range(2)]
    fingerprints = [builder.communicate(timeout=60)[0].strip() for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    dataset = FakeDataset(length=8)
    assert sorted(notes.read_text().split()) == dataset.ids("train"), "each image decoded once"
    store = open_store(dataset, "train", HIERARCHY)
    assert dataset.calls == []
    assert fingerprints == [store.fingerprint] * 2
    _check_whole(store, dataset)
    assert len(_stores(cache)) == 1


def test_a_killed_build_is_not_used(tmp_path: Path, cache: Path) -> None:
    notes = tmp_path / "notes"
    builder = _start_builder(notes, 5.0)
    _wait_for(notes, builder)
    builder.send_signal(signal.SIGKILL)
    builder.communicate(timeout=60)
    assert len(_stores(cache)) == 1, "what it had begun"
    dataset = FakeDataset(length=8)
    store = open_store(dataset, "train", HIERARCHY)
    assert sorted(dataset.calls) == dataset.ids("train")
    _check_whole(store, dataset)
    assert [path.suffix for path in _stores(cache)] == [""], "nothing unfinished is left"


def _check_whole(store: Store, dataset: FakeDataset) -> None:
    for row, id in enumerate(store.ids):
        image = Image.fromarray(dataset.image(id)).resize((8, 6), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(store.images[row], np.asarray(image))
    (folder,) = {Path(store.images.filename).parent, Path(store.masks.filename).parent}
    index = json.loads((folder / "index.json").read_text())
    assert index["ids"] == store.ids
    assert len(index["fingerprint"]) == hashlib.sha256().digest_size * 2
