"""`hieraseg clean`: leftovers of killed processes, and nothing else."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from filelock import FileLock

from hieraseg.cli import main

DAY = 86400
TRAIN, OLD = "train-64x64-0123456789abcdef0123", "train-64x64-89ab456789abcdef0123"
VAL = "val-targets-45670123456789abcdef"


def age(path: Path, seconds: float) -> None:
    """Set the time of the last change of a file or of a folder and what is in it."""
    for one in (path, *path.rglob("*")):
        os.utime(one, (time.time() - seconds,) * 2)


def write(path: Path, content: str = "0123456789") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a store, and what a killed build of another one leaves."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HIERASEG_CACHE", str(folder))
    write(folder / TRAIN / "checksums.json")
    write(folder / f"{TRAIN}.lock", "")
    write(folder / f"{VAL}.0123abcd.unfinished/images.npy")
    write(folder / f"{VAL}.lock", "")
    return folder


def clean(*words: str) -> int:
    return main(["clean", *words])


def test_run_folders(
    tmp_path: Path, cache: Path, run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {path for path in run_copy.rglob("*") if path.name != "result.lock"}
    killed = [
        write(run_copy / "ab12.unfinished"),
        write(run_copy / "evaluation/cd34.unfinished"),
        write(run_copy / "checkpoints/last.ef56.unfinished/model.safetensors").parent,
        write(run_copy / "checkpoints/last.previous/model.safetensors").parent,
        write(run_copy / "evaluation/0123456789abcdef.unfinished"),
    ]
    for path in killed:
        age(path, 120)
    recent = write(run_copy / "recent.unfinished")
    assert clean(str(tmp_path), "--dry_run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {str(path) for path in killed} <= found.keys()
    assert found[str(killed[0])] == found[str(killed[2])] == 10
    assert all(path.exists() for path in killed)
    assert clean(str(tmp_path)) == 0
    assert not any(path.exists() for path in killed)
    assert recent.exists()
    assert all(path.exists() for path in whole)


def test_previous_checkpoint_that_is_the_only_one_stays(run_copy: Path, cache: Path) -> None:
    last = run_copy / "checkpoints/last"
    previous = last.rename(last.with_name("last.previous"))
    age(previous, 120)
    assert clean(str(run_copy)) == 0
    assert previous.is_dir()


def test_previous_checkpoint_stays_beside_a_part_of_a_copy(run_copy: Path, cache: Path) -> None:
    best = run_copy / "checkpoints/best"
    previous = Path(shutil.copytree(best, best.with_name("best.previous")))
    (best / "model.safetensors").unlink()
    age(previous, 120)
    assert clean(str(run_copy)) == 0
    assert previous.is_dir()


def test_files_of_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the cache is put into the home folder, and that is searched for runs."""
    home = tmp_path / "home"
    names = (
        *("my-thesis.pdf", "my-notes.lock", "draft.unfinished", "result.lock"),
        *("work-0123/checksums.json", "work-0123.previous/a", "project/a", "project.previous/a"),
        *("runs/x/base-seed0/result.json", "runs/x/base-seed0.previous/result.json"),
    )
    for name in names:
        write(home / name)
    age(home, 100 * DAY)
    monkeypatch.setenv("HIERASEG_CACHE", str(home))
    assert clean(str(home), "--stores", "0") == 0
    assert [name for name in names if not (home / name).exists()] == []
    assert (home / "my-notes.lock").read_text() == "0123456789"


def test_locks_that_are_held_stay(
    run_copy: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = run_copy / "result.lock"
    with FileLock(lock):
        age(lock, 120)  # taking a lock does not change its file
        assert clean(str(run_copy)) == 0
        assert lock.exists()
    capsys.readouterr()
    assert clean(str(run_copy), f"{run_copy}/.", str(run_copy.parent), "--json") == 0
    assert [Path(path).name for path in json.loads(capsys.readouterr().out)] == ["result.lock"]
    assert not lock.exists()


def test_what_cannot_be_removed_is_named_and_the_rest_removed(
    run_copy: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stays, goes = write(run_copy / "a.unfinished"), write(run_copy / "b.unfinished")
    for path in (stays, goes):
        age(path, 120)
    unlink = Path.unlink

    def refusing(path: Path, missing_ok: bool = False) -> None:
        if path == stays:
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refusing)
    assert clean(str(run_copy), "--json") == 2
    out, err = capsys.readouterr()
    assert str(goes) in json.loads(out)
    assert str(stays) not in json.loads(out)
    assert f"{stays}: cannot be removed (Permission denied)" in err


def test_stores_in_use_stay(cache: Path) -> None:
    assert clean("--stores", "0") == 0
    assert (cache / TRAIN).is_dir(), "it was used within the last minute"


def test_cache(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FileLock(cache / f"{VAL}.lock"):  # a build that runs
        assert clean() == 0
        assert (cache / f"{VAL}.0123abcd.unfinished").is_dir()
    assert clean() == 0
    assert [path.name for path in cache.iterdir()] == [TRAIN]
    capsys.readouterr()
    assert clean() == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_stores_that_were_not_used(cache: Path) -> None:
    age(write(cache / OLD / "checksums.json").parent, 31 * DAY)
    age(write(cache / "of-somebody-else/photo.jpg").parent, 31 * DAY)
    age(cache / TRAIN, 29 * DAY)
    assert clean("--stores", "30") == 0
    assert {path.name for path in cache.iterdir()} == {TRAIN, "of-somebody-else"}


def data_clean(*words: str) -> int:
    return main(["data", "--clean", *words])


def test_data_clean_is_for_the_cache_alone(
    cache: Path, run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leftover = write(run_copy / "a.unfinished")
    age(leftover, 120)
    age(write(cache / OLD / "checksums.json").parent, 31 * DAY)
    age(cache / TRAIN, 29 * DAY)
    listed = {OLD: 10, f"{TRAIN}.lock": 0, f"{VAL}.lock": 0, f"{VAL}.0123abcd.unfinished": 10}
    for dry_run in ("--dry-run", "--dry_run"):
        assert data_clean(dry_run, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert {Path(path).name: size for path, size in found.items()} == listed
        assert all(Path(path).exists() for path in found)
    assert data_clean("--dry-run") == 0
    out = capsys.readouterr().out
    assert re.search(
        rf"0\.0 MB  \d{{4}}-\d\d-\d\d  unused      {re.escape(str(cache / OLD))}\n", out
    )
    assert "would be removed; run again without --dry-run" in out
    assert data_clean() == 0
    assert [path.name for path in cache.iterdir()] == [TRAIN]
    assert leftover.exists()
    assert data_clean("28") == 0
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("words", [["clean", "--stores", "90"], ["data", "--clean", "90"]])
def test_stores_of_other_versions(words: list[str], cache: Path) -> None:
    write(cache / OLD / "checksums.json", '{"images.npy": [12, 34]}')
    age(cache / OLD, DAY)
    assert clean() == 0
    assert (cache / OLD).is_dir()
    assert main(words) == 0
    assert [path.name for path in cache.iterdir()] == [TRAIN]


def test_missing_folder(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert clean("nowhere") == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
