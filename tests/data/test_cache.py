"""What the stores have in common: checks, errors, and builds by several processes."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hieraseg.data import cache as cache_module
from hieraseg.data.cache import cache_folder
from hieraseg.data.store import Store, open_store
from hieraseg.data.targets import open_targets
from hieraseg.errors import DataError
from tests.support.datasets import HIERARCHY, FakeDataset

ROOT = Path(__file__).parents[2]
Open = Callable[..., Any]
both_stores = pytest.mark.parametrize("open_any", [open_store, open_targets])


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder().name == "cache"
    monkeypatch.delenv("HIERASEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/hieraseg")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/anna")
    assert cache_folder() == Path("/home/anna/.cache/hieraseg")


# Errors.


@both_stores
def test_unknown_label_is_an_error(open_any: Open) -> None:
    mask = np.zeros((12, 10), np.uint8)
    mask[3, 4] = 7
    with pytest.raises(DataError) as caught:
        open_any(FakeDataset(masks={"train2": mask}), "train", HIERARCHY)
    assert str(caught.value).startswith("train2: the mask has the label 7")
    assert "0, 1, 2, 255" in str(caught.value)


@both_stores
def test_bad_files_are_counted_and_the_first_few_listed(open_any: Open, cache: Path) -> None:
    masks = {f"train{i}": np.full((12, 10), 9, np.uint8) for i in range(1, 9)}
    with pytest.raises(DataError) as caught:
        open_any(FakeDataset(length=10, masks=masks), "train", HIERARCHY)
    lines = str(caught.value).splitlines()
    assert lines[0] == "8 of 10 images of split 'train' cannot be used:"
    assert [line.split(":")[0].strip() for line in lines[1:6]] == [f"train{i}" for i in range(1, 6)]
    assert lines[6].strip() == "... and 3 more"
    assert _folders(cache) == [], "nothing is left behind"


@both_stores
def test_os_error_of_a_data_set_is_a_data_error(open_any: Open) -> None:
    class Missing(FakeDataset):
        def mask(self, id: str) -> np.ndarray:
            raise FileNotFoundError("no such mask")

    with pytest.raises(DataError, match=r"^train0: Missing\.mask fails .*Error: no such mask; fix"):
        open_any(Missing(length=1), "train", HIERARCHY)


@both_stores
def test_fixed_data_can_be_opened(open_any: Open) -> None:
    bad = FakeDataset(masks={"train2": np.full((12, 10), 9, np.uint8)})
    with pytest.raises(DataError):
        open_any(bad, "train", HIERARCHY)
    bad.masks.clear()
    assert len(open_any(bad, "train", HIERARCHY)) == 5


@both_stores
def test_cache_that_cannot_be_written(
    open_any: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="HIERASEG_CACHE") as caught:
        open_any(FakeDataset(), "train", HIERARCHY)
    assert str(caught.value).startswith(str(tmp_path / "file" / "cache"))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_full_disk_is_detected_before_decoding(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write to a memory-mapped file without space would kill the process with SIGBUS."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_module.os, "posix_fallocate", full)
    dataset = FakeDataset()
    with pytest.raises(DataError, match=r"No space left on device.*HIERASEG_CACHE"):
        open_store(dataset, "train", HIERARCHY)
    assert dataset.image_calls == []
    assert _folders(cache) == []


def test_a_store_larger_than_the_disk_takes_no_space(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allocating it would leave no space to other processes before it fails."""

    def allocate(*_: int) -> None:
        pytest.fail("allocates space")

    monkeypatch.setattr(cache_module.os, "posix_fallocate", allocate, raising=False)
    dataset = FakeDataset(size=(10**9, 10**9))
    with pytest.raises(DataError, match=r"images.npy needs [\d,]+ MiB, but [\d,]+ are free"):
        open_store(dataset, "train", HIERARCHY)
    assert _folders(cache) == []


def _folders(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


# Damage.


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _nest(path: Path) -> None:
    path.write_text("[" * 100_000)


@both_stores
@pytest.mark.parametrize(
    "damage", [Path.unlink, _cut, _empty, _zero, _flip_a_bit, _replace_by_folder, _nest]
)
def test_damaged_store_is_built_again(
    open_any: Open, damage: Callable[[Path], None], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = FakeDataset()
    open_any(dataset, "train", HIERARCHY)
    (folder,) = _folders(cache)
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) in (3, 4)
    for name in names:
        path = folder / name
        modified = path.stat().st_mtime_ns
        damage(path)
        if path.exists():
            os.utime(path, ns=(modified, modified))  # as if the disk had changed it
        dataset.mask_calls.clear()
        capsys.readouterr()
        opened = open_any(dataset, "train", HIERARCHY)
        assert sorted(dataset.mask_calls) == dataset.ids("train"), f"{name} is used as it is"
        assert capsys.readouterr().err.splitlines()[0] == (
            f"{folder}: is damaged, so it is built again"
        )
        _check_content(opened, dataset)
    dataset.mask_calls.clear()
    open_any(dataset, "train", HIERARCHY)
    assert dataset.mask_calls == []


def test_store_that_cannot_be_built_again_is_not_used(cache: Path) -> None:
    open_store(FakeDataset(), "train", HIERARCHY)
    (folder,) = _folders(cache)
    _cut(folder / "masks.npy")
    bad = FakeDataset(masks={"train2": np.full((12, 10), 9, np.uint8)})
    for _ in range(2):
        with pytest.raises(DataError, match="label 9"):
            open_store(bad, "train", HIERARCHY)


def test_store_is_read_from_a_folder_that_cannot_be_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(FakeDataset(), "train", HIERARCHY)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(cache_module, "FileLock", refuse)
    assert len(open_store(FakeDataset(), "train", HIERARCHY)) == 5


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_files_are_forced_to_the_disk_before_a_store_appears(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(file: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{file}")))
        fsync(file)

    monkeypatch.setattr(cache_module.os, "fsync", note)
    open_store(FakeDataset(), "train", HIERARCHY)
    (folder,) = _folders(cache)
    assert sorted(synced[:-2]) == sorted(path.name for path in folder.iterdir())
    assert synced[-2].startswith(folder.name)
    assert synced[-2].endswith(".unfinished")
    assert synced[-1] == cache.name


@given(st.binary(max_size=200), st.integers(0, 3))
@settings(max_examples=30)
def test_any_content_of_a_file_is_noticed(content: bytes, number: int) -> None:
    with TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIERASEG_CACHE", temporary)
        dataset = FakeDataset(length=2)
        open_store(dataset, "train", HIERARCHY)
        (folder,) = _folders(Path(temporary))
        sorted(folder.iterdir())[number].write_bytes(content)
        _check_content(open_store(dataset, "train", HIERARCHY), dataset)


# Several processes.

# Builds a store slowly and appends each id to a file while it decodes.
_BUILDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.support.datasets import FakeDataset, HIERARCHY
from hieraseg.data.store import Store, open_store
from hieraseg.data.targets import open_targets

class Slow(FakeDataset):
    def mask(self, id):
        with open(sys.argv[2], "a") as notes:
            notes.write(id + "\\n")
        time.sleep(float(sys.argv[3]))
        return super().mask(id)

opened = globals()[sys.argv[4]](Slow(length=8), "train", HIERARCHY)
print(getattr(opened, "fingerprint", len(opened)))
"""


def _start_builder(notes: Path, seconds: float, open_any: Open) -> subprocess.Popen[str]:
    """Start a process that takes so many seconds per image."""
    arguments = [str(ROOT), str(notes), str(seconds), open_any.__name__]
    return subprocess.Popen(
        [sys.executable, "-c", _BUILDER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _wait_for(notes: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the process decodes."""
    deadline = time.monotonic() + 60
    while not notes.exists():
        assert process.poll() is None, "it ended before it decoded anything"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@both_stores
def test_two_processes_build_one_store(open_any: Open, tmp_path: Path, cache: Path) -> None:
    notes = tmp_path / "notes"
    builders = [_start_builder(notes, 0.05, open_any) for _ in range(2)]
    printed = [builder.communicate(timeout=60)[0].strip() for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    dataset = FakeDataset(length=8)
    assert sorted(notes.read_text().split()) == dataset.ids("train"), "an id was decoded twice"
    opened = open_any(dataset, "train", HIERARCHY)
    assert dataset.mask_calls == []
    assert printed == [str(getattr(opened, "fingerprint", 8))] * 2
    _check_content(opened, dataset)
    assert len(_folders(cache)) == 1


@both_stores
def test_killed_build_is_not_used(open_any: Open, tmp_path: Path, cache: Path) -> None:
    notes = tmp_path / "notes"
    builder = _start_builder(notes, 5.0, open_any)
    _wait_for(notes, builder)
    builder.send_signal(signal.SIGKILL)
    builder.communicate(timeout=60)
    assert len(_folders(cache)) == 1, "the unfinished folder"
    dataset = FakeDataset(length=8)
    opened = open_any(dataset, "train", HIERARCHY)
    assert sorted(dataset.mask_calls) == dataset.ids("train")
    _check_content(opened, dataset)
    assert [path.suffix for path in _folders(cache)] == [""], "an unfinished folder is left"


def _check_content(opened: Any, dataset: FakeDataset) -> None:
    """Compare either store with the data set."""
    if isinstance(opened, Store):
        assert opened.ids == dataset.ids("train")
        assert len(opened.fingerprint) == 64
    for row, id in enumerate(dataset.ids("train")):
        if isinstance(opened, Store):
            size = dataset.size[::-1]
            image = Image.fromarray(dataset.image(id)).resize(size, Image.Resampling.BILINEAR)
            mask = Image.fromarray(dataset.mask(id)).resize(size, Image.Resampling.NEAREST)
            np.testing.assert_array_equal(opened.images[row], np.asarray(image))
            np.testing.assert_array_equal(opened.masks[row], np.asarray(mask))
        else:
            np.testing.assert_array_equal(opened.mask(row), dataset.mask(id))
