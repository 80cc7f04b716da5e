"""Damaged checkpoints and records, full disks, and what killed processes left."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from benchmarks.kills import outcome

from hieraseg.runs import checkpoint
from hieraseg.runs.checkpoint import read_checkpoint, read_metadata, read_state, save_checkpoint
from hieraseg.runs.folder import RunFolder
from hieraseg.training.checkpoints import CheckpointWriter
from hieraseg.training.saved import newest_saved
from tests.support.resuming import KilledRuns, contents, resume, start

Captured = pytest.CaptureFixture[str]


def truncate(folder: Path) -> None:
    state = folder / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])


def flip_a_byte(folder: Path) -> None:
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def remove_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "a byte flipped": flip_a_byte,
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no state": lambda folder: (folder / "state.pt").unlink(),
    "no checksums": lambda folder: (folder / "checksums.json").unlink(),
    "no file": remove_all,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    killed_late: Path, capsys: Captured, damage: str
) -> None:
    DAMAGES[damage](killed_late / "checkpoints/last")
    saved = newest_saved(RunFolder(killed_late))
    assert (saved.last.name, saved.state["progress"]["step"]) == ("last_2", 6)
    pattern = (
        rf"warning: {killed_late}/checkpoints/last[/:].*; the checkpoint before is used, of step 6"
    )
    assert re.search(pattern, capsys.readouterr().err)


@pytest.mark.parametrize("damage", ["a byte flipped", "no file"])
def test_best_weights_that_are_damaged_are_those_of_an_older_checkpoint(
    killed_runs: KilledRuns, killed_late: Path, capsys: Captured, damage: str
) -> None:
    DAMAGES[damage](killed_late / "checkpoints/best")
    assert resume(killed_late) == 0
    error = capsys.readouterr().err
    assert (
        f"warning: {killed_late}/checkpoints/last: needs the best weights until then, of step"
        in error
    )
    assert "goes on after step 6," in error
    assert outcome(killed_late) == outcome(killed_runs.whole)


def test_the_checkpoint_of_another_run_is_named(killed_late: Path, capsys: Captured) -> None:
    last = killed_late / "checkpoints/last"
    weights, _ = read_checkpoint(last / "model.safetensors")
    metadata = {**read_metadata(last), "recipe": "0" * 64}
    save_checkpoint(last, weights, metadata, read_state(last), keep=2)
    shutil.rmtree(last.with_name("last_2"))
    assert resume(killed_late) == 2
    error = capsys.readouterr().err
    assert f"has no checkpoint that can be used ({last}: is of another run, with" in error


def test_where_all_checkpoints_are_damaged_it_says_what_to_do(
    killed_late: Path, capsys: Captured
) -> None:
    truncate(killed_late / "checkpoints/last")
    flip_a_byte(killed_late / "checkpoints/last_2")
    before = contents(killed_late)
    assert resume(killed_late) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "has no checkpoint that can be used (" in line
    assert "/last/state.pt: is not the file" in line
    assert "/last_2/model.safetensors: is not the file" in line
    assert line.endswith(f"; run its recipe again with `hieraseg run {killed_late}/recipe.yaml`")
    assert contents(killed_late) == before


def test_what_killed_processes_left_is_removed_and_never_used(
    killed_runs: KilledRuns, killed_late: Path, capsys: Captured
) -> None:
    """Beside a checkpoint that is damaged, so that another one is wanted."""
    checkpoints = killed_late / "checkpoints"
    for which in ("last", "best"):
        shutil.copytree(checkpoints / which, checkpoints / f"{which}.0123abcd.unfinished")
    flip_a_byte(checkpoints / "last")
    assert resume(killed_late) == 0
    assert "goes on after step 6," in capsys.readouterr().err
    assert {path.name for path in checkpoints.iterdir()} == {"last", "last_2", "best", "best_2"}
    assert outcome(killed_late) == outcome(killed_runs.whole)


@pytest.mark.parametrize(
    ("name", "number", "fix"),
    [
        ("_save_state", errno.ENOSPC, "free space on its disk"),
        ("save_file", errno.EROFS, "choose a disk that is writable"),
    ],
)
def test_a_disk_that_cannot_be_written_leaves_the_checkpoint_before(
    killed_runs: KilledRuns,
    recipe: str,
    tmp_path: Path,
    capsys: Captured,
    name: str,
    number: int,
    fix: str,
) -> None:
    own, calls = getattr(checkpoint, name), iter(range(1, 100))

    def full(content: Any, path: Path, *arguments: Any) -> None:
        if next(calls) > 3:
            path.write_bytes(b"a part")
            raise OSError(number, os.strerror(number))
        own(content, path, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, name, full)
        assert start(recipe, tmp_path) == 2
    (run,) = tmp_path.glob("*/*-seed*")
    error = capsys.readouterr().err
    assert f"cannot be written ({os.strerror(number)}); {fix}" in error
    assert f"`hieraseg resume {run}`" in error
    assert not list(run.glob("checkpoints/*unfinished"))
    assert resume(run) == 0
    assert outcome(run) == outcome(killed_runs.whole)


def test_a_folder_that_cannot_be_written_is_refused_before_the_data_are_read(
    killed: Path, recipe: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    read = Mock(side_effect=SystemError)
    monkeypatch.setattr("hieraseg.train.set_up", read)
    read_only = OSError(errno.EROFS, os.strerror(errno.EROFS))
    monkeypatch.setattr("tempfile.TemporaryFile", Mock(side_effect=read_only))
    assert resume(killed) == 2
    said = f"{killed}: cannot be written (Read-only file system); choose a disk that is writable"
    assert said in capsys.readouterr().err
    assert start(recipe, killed) == 2
    said = "the run folder cannot be created (Read-only file system); choose another place"
    assert said in capsys.readouterr().err
    assert not read.called


@pytest.mark.parametrize("left", [None, "run.lock", "checkpoints"])
def test_a_run_folder_that_is_moved_is_one_sentence(
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    left: str | None,
) -> None:
    """Nothing is written into that of a run which has begun in its place, nor is it unlocked.

    Nor into what a removal leaves that fails since a checkpoint has just been written.
    """
    save, calls, place = CheckpointWriter.write, iter(range(1, 100)), Path()

    def move(self: CheckpointWriter, saved: Any) -> None:
        nonlocal place
        place = self.folder.path
        if next(calls) == 2:
            if left == "checkpoints":
                shutil.copytree(place, tmp_path / "moved")
                for path in place.iterdir():
                    if path.is_file():
                        path.unlink()
                    elif path.name != left:
                        shutil.rmtree(path)
            else:
                place.rename(tmp_path / "moved")
            if left == "run.lock":
                place.mkdir()
                (place / left).touch()
        save(self, saved)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointWriter, "write", move)
        assert start(recipe, tmp_path) == 2
    (error,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line)
    assert f"{place}: was moved or removed while this run was going on; go on with" in error
    assert error.endswith("where it is now, or start again")
    assert [path.name for path in place.glob("*")] == ([left] if left else [])
    assert resume(tmp_path / "moved") == 0


def test_records_after_the_checkpoint_may_be_damaged(killed_runs: KilledRuns, killed: Path) -> None:
    """They are computed again."""
    with (killed / "metrics.jsonl").open("ab") as file:
        file.write(b"\0" * 100 + b"\n")
    assert resume(killed) == 0
    assert outcome(killed) == outcome(killed_runs.whole)
