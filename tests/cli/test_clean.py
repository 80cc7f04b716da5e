"""`hieraseg clean`: leftovers of killed processes, and nothing else."""

import json
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from hieraseg.cli import main

DAY = 86400


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
    write(folder / "train-0123/checksums.json")
    write(folder / "train-0123.lock", "")
    write(folder / "val-4567.0123abcd.unfinished/images.npy")
    write(folder / "val-4567.lock", "")
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


def test_cache(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FileLock(cache / "val-4567.lock"):  # a build that runs
        assert clean() == 0
        assert (cache / "val-4567.0123abcd.unfinished").is_dir()
    assert clean() == 0
    assert [path.name for path in cache.iterdir()] == ["train-0123"]
    capsys.readouterr()
    assert clean() == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_stores_that_were_not_used(cache: Path) -> None:
    age(write(cache / "train-89ab/checksums.json").parent, 31 * DAY)
    age(write(cache / "of-somebody-else/photo.jpg").parent, 31 * DAY)
    age(cache / "train-0123", 29 * DAY)
    assert clean("--stores", "30") == 0
    assert {path.name for path in cache.iterdir()} == {"train-0123", "of-somebody-else"}


def test_missing_folder(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert clean("nowhere") == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
