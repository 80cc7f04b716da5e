"""What the stores have in common: checks, errors, and builds by several processes."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hieraseg.data.stores import cache as cache_module
from hieraseg.data.stores.cache import build_folder, cache_folder, find_removable, folder_for
from hieraseg.data.stores.store import Store
from hieraseg.errors import DataError
from tests.support.datasets import HIERARCHY, FakeDataset, open_decoded, open_files, open_masks

ROOT = Path(__file__).parents[3]
Open = Callable[..., Any]
both_stores = pytest.mark.parametrize("open_any", [open_decoded, open_files, open_masks])


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
@pytest.mark.parametrize("name", ["cache", "x" * 300])
def test_cache_that_cannot_be_written(
    open_any: Open, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / ("file" if name == "cache" else "") / name
    monkeypatch.setenv("HIERASEG_CACHE", str(folder))
    with pytest.raises(DataError, match="HIERASEG_CACHE") as caught:
        open_any(FakeDataset(), "train", HIERARCHY)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


@both_stores
def test_full_disk(open_any: Open, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match=r"No space left on device.*HIERASEG_CACHE"):
        open_any(FakeDataset(), "train", HIERARCHY)
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


DAMAGES = [Path.unlink, _cut, _empty, _zero, _flip_a_bit, _replace_by_folder, _nest]


def _damage(damage: Callable[[Path], None], path: Path) -> None:
    modified = path.stat().st_mtime_ns
    damage(path)
    if path.exists():
        os.utime(path, ns=(modified, modified))  # as if the disk had changed it


@both_stores
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_that_is_found_when_a_store_is_opened(
    open_any: Open, damage: Callable[[Path], None], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = FakeDataset()
    open_any(dataset, "train", HIERARCHY)
    (folder,) = _folders(cache)
    names = {path.name for path in folder.iterdir()}
    assert {"checksums.json", "index.npz"} <= names
    if damage in (_zero, _flip_a_bit):  # files of the same size are read later
        names -= {"images.bin", "masks.bin"}
    for name in sorted(names):
        _damage(damage, folder / name)
        dataset.mask_calls.clear()
        capsys.readouterr()
        opened = open_any(dataset, "train", HIERARCHY)
        assert set(dataset.mask_calls) == set(dataset.ids("train")), f"{name} is used as it is"
        assert f"{folder}: is damaged, so it is built again" in capsys.readouterr().err
        _check_content(opened, dataset)
    dataset.mask_calls.clear()
    open_any(dataset, "train", HIERARCHY)
    assert dataset.mask_calls == []


@pytest.mark.parametrize("open_any", [open_decoded, open_masks])
@pytest.mark.parametrize("damage", [_zero, _flip_a_bit])
def test_damage_that_is_found_when_a_row_is_read(
    open_any: Open, damage: Callable[[Path], None], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is decoded again, and all damage of a store is told once."""
    dataset = FakeDataset()
    open_any(dataset, "train", HIERARCHY)
    (folder,) = _folders(cache)
    for path in folder.glob("*.bin"):
        _damage(damage, path)
    dataset.mask_calls.clear()
    opened = open_any(dataset, "train", HIERARCHY)
    assert dataset.mask_calls == []
    capsys.readouterr()
    for _ in range(2):
        _check_content(opened, dataset)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {folder}: is damaged")
    assert "remove this folder" in line
    shutil.rmtree(folder)  # as the warning says, even while it is used
    _check_content(open_any(dataset, "train", HIERARCHY), dataset)
    assert "warning" not in capsys.readouterr().err


def test_damaged_smaller_images(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = FakeDataset()
    expected = open_decoded(dataset, "train", HIERARCHY, levels=3)
    (level,) = cache.glob("*/level2.bin")
    _flip_a_bit(level)
    capsys.readouterr()
    opened = open_decoded(dataset, "train", HIERARCHY, levels=3)
    for row in range(5):
        np.testing.assert_array_equal(opened.image(row, 2), expected.image(row, 2))
    assert capsys.readouterr().err.startswith(f"warning: {level.parent}: is damaged")
    _cut(level)
    opened = open_decoded(dataset, "train", HIERARCHY, levels=3)
    assert f"{level.parent}: is damaged, so it is built again" in capsys.readouterr().err


def test_rows_are_checked_by_many_threads_at_once(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = FakeDataset(length=10)
    open_decoded(dataset, "train", HIERARCHY)
    _zero(next(cache.glob("*/images.bin")))
    opened = open_decoded(dataset, "train", HIERARCHY)
    capsys.readouterr()
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(opened.image, [row % 10 for row in range(200)]))
    for row in range(10, 200):
        np.testing.assert_array_equal(images[row], images[row % 10])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_store_that_cannot_be_built_again_is_not_used(cache: Path) -> None:
    open_decoded(FakeDataset(), "train", HIERARCHY)
    (folder,) = _folders(cache)
    _cut(folder / "masks.bin")
    bad = FakeDataset(masks={"train2": np.full((12, 10), 9, np.uint8)})
    for _ in range(2):
        with pytest.raises(DataError, match="label 9"):
            open_decoded(bad, "train", HIERARCHY)


def test_store_is_read_from_a_folder_that_cannot_be_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_decoded(FakeDataset(), "train", HIERARCHY)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(cache_module, "FileLock", refuse)
    assert len(open_decoded(FakeDataset(), "train", HIERARCHY)) == 5


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
    open_decoded(FakeDataset(), "train", HIERARCHY)
    (folder,) = _folders(cache)
    assert sorted(synced[:-2]) == sorted(path.name for path in folder.iterdir())
    assert synced[-2].startswith(folder.name)
    assert synced[-2].endswith(".unfinished")
    assert synced[-1] == cache.name


@given(st.binary(max_size=200), st.integers(0, 3), st.booleans())
@settings(max_examples=30)
def test_any_content_of_a_file_is_noticed(content: bytes, number: int, same_size: bool) -> None:
    with TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIERASEG_CACHE", temporary)
        dataset = FakeDataset(length=2)
        open_decoded(dataset, "train", HIERARCHY)
        (folder,) = _folders(Path(temporary))
        file = sorted(folder.iterdir())[number]
        size = file.stat().st_size
        file.write_bytes(content.ljust(size)[:size] if same_size else content)
        _check_content(open_decoded(dataset, "train", HIERARCHY), dataset)


# What can be removed.


def _age(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * 86_400,) * 2)


def test_removable_folders_and_files(cache: Path) -> None:
    recent, old = (folder_for(f"train-{name}", (name,)) for name in ("recent", "old"))
    other = folder_for("train-other", ())
    for folder in (recent, old, other):
        build_folder(folder, lambda unfinished: (unfinished / "file").write_bytes(b"12345"))
        _age(folder, 2)
    _age(old, 40)
    (other / "checksums.json").write_text('{"images.npy": [12, 34]}')  # as earlier versions did
    _age(other, 2)
    unfinished = cache / f"{recent.name}.0123abcd.unfinished"
    unfinished.mkdir()
    (cache / "of-somebody-else").mkdir()

    def found(days: int | None) -> dict[tuple[Path, str], int]:
        return {
            (one.path, one.reason): one.bytes
            for one in find_removable(days)
            if one.reason != "lock"
        }

    kept = {(unfinished, "unfinished"): 0, (other, "other version"): 29}
    assert found(None) == {(unfinished, "unfinished"): 0}
    assert found(30) == kept | {(old, "unused"): found(30)[old, "unused"]}
    assert found(30)[old, "unused"] > 5
    (one,) = (one for one in find_removable(30) if one.path == old)
    assert time.time() - one.last_used == pytest.approx(40 * 86_400, abs=60)
    build_folder(old, lambda _: pytest.fail("it is whole"))
    assert found(30) == kept, "it was used now"


def test_what_other_processes_may_build_is_not_removable(cache: Path) -> None:
    folder = folder_for("train", ())
    (cache / f"{folder.name}.0123abcd.unfinished").mkdir(parents=True)
    with FileLock(f"{folder}.lock"):
        assert find_removable(0) == []


# Several processes.

# Builds a store slowly and appends each id to a file while it decodes.
_BUILDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.support.datasets import HIERARCHY, FakeDataset, open_decoded, open_files, open_masks

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


def _wait_for_folder(cache: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the process builds."""
    deadline = time.monotonic() + 60
    while not list(cache.glob("*.unfinished/*")):
        assert process.poll() is None, "it ended before it wrote anything"
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Slow: the lock, and all else that two processes share, is the same.
@pytest.mark.parametrize(
    "open_any", [open_decoded, pytest.param(open_files, marks=pytest.mark.slow)]
)
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


def test_killed_build_is_not_used(tmp_path: Path, cache: Path) -> None:
    notes = tmp_path / "notes"
    builder = _start_builder(notes, 2.0, open_decoded)
    _wait_for_folder(cache, builder)
    builder.send_signal(signal.SIGKILL)
    builder.communicate(timeout=60)
    assert len(_folders(cache)) == 1, "the unfinished folder"
    dataset = FakeDataset(length=8)
    opened = open_decoded(dataset, "train", HIERARCHY)
    assert sorted(dataset.mask_calls) == dataset.ids("train")
    _check_content(opened, dataset)
    assert [path.suffix for path in _folders(cache)] == [""], "an unfinished folder is left"


def _check_content(opened: Any, dataset: FakeDataset) -> None:
    """Compare either store with the data set."""
    assert opened.ids == dataset.ids("train")
    for row, id in enumerate(dataset.ids("train")):
        expected = Image.fromarray(dataset.mask(id))
        if isinstance(opened, Store):
            image = Image.fromarray(dataset.image(id)).resize((8, 6), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(opened.image(row), np.asarray(image))
            expected = expected.resize((8, 6), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(opened.mask(row), np.asarray(expected))
