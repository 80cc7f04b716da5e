"""Writing files whole: not through links, with nothing left over, and errors as sentences."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hieraseg.errors import WriteError
from hieraseg.files.writing import (
    append_line,
    write_file,
    write_folder,
    write_json,
    write_text,
)
from hieraseg.runs.folder import RunFolder

COUNTS = {"pixels": np.ones(1, int)}
WRITERS: list[Callable[[Path], Any]] = [
    lambda path: write_json(path, {"new": 1}),
    lambda path: write_text(path, "new"),
    lambda path: write_folder(path, lambda folder: write_text(folder / "new", "new")),
]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("target", ["file", "folder", "missing"])
def test_a_link_is_replaced_and_not_followed(
    tmp_path: Path, write: Callable[[Path], Any], target: str
) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_text("precious")
    inside.mkdir()
    (inside / "link").symlink_to(outside / target)
    write(inside / "link")
    assert not (inside / "link").is_symlink()
    assert (outside / "file").read_text() == "precious"
    assert {path.name for path in outside.rglob("*")} == {"file", "folder"}
    assert [path.name for path in inside.iterdir()] == ["link"]


@pytest.mark.parametrize("is_link", [False, True])
def test_a_pipe_or_device_is_not_replaced(tmp_path: Path, is_link: bool) -> None:
    """As root, `--html /dev/stdout` would remove it from the machine."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    path = link if is_link else pipe
    with pytest.raises(WriteError, match="is a device or a pipe, which is not replaced; name a"):
        write_text(path, "new")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("path", ["", "."])
def test_a_folder_is_found_before_content_is_computed(path: str) -> None:
    with pytest.raises(WriteError, match="a folder is in its place"):
        write_file(Path(path), lambda _: pytest.fail("content was computed"))


@pytest.mark.parametrize("name", ["result.unfinished", "result.json.unfinished", "result.lock"])
def test_evaluation_writes_inside_the_run_folder_alone(tmp_path: Path, name: str) -> None:
    victim, folder = tmp_path / "victim", RunFolder.create(tmp_path, "recipe", "run", 0)
    victim.write_text("precious")
    evaluation = folder.path / "evaluation"
    evaluation.mkdir()
    links = [folder.path / name, evaluation / "val.npz", evaluation / "val.npz.unfinished"]
    for link in links:
        link.symlink_to(victim)
    folder.write_scores("val", {"images": 1}, COUNTS, ["a"])
    assert victim.read_text() == "precious"
    assert np.load(evaluation / "val.npz")["pixels"] == 1


def test_a_folder_of_a_run_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    folder = RunFolder.create(tmp_path, "recipe", "run", 0)
    (folder.path / "evaluation").symlink_to(tmp_path / "outside")
    with pytest.raises(WriteError, match=r"evaluation: is a symbolic link"):
        folder.write_scores("val", {"images": 1}, COUNTS, ["a"])
    folder.metrics.symlink_to(tmp_path / "outside" / "metrics")
    with pytest.raises(WriteError, match=r"metrics\.jsonl: .*symbolic link"):
        folder.append_metrics({"epoch": 1})
    assert not list((tmp_path / "outside").iterdir())


def _fail(path: Path) -> None:
    """Write a part, and find the disk full."""
    (path / "part" if path.is_dir() else path).write_text("part")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_content(
    tmp_path: Path, write: Callable[[Path, Callable[[Path], Any]], None]
) -> None:
    path = tmp_path / "content"
    WRITERS[1 if write is write_file else 2](path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(WriteError) as caught:
        write(path, _fail)
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); free space on its disk"
    )
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert after == before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names of open files")
@pytest.mark.parametrize("keep", [1, 2])
def test_content_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    """And the folder that it is in is so afterwards, before older versions are removed."""
    seen: list[str] = []
    fsync, rename = os.fsync, os.rename

    def name(path: object) -> str:
        return re.sub(r"[0-9a-f]{8,}", "new", os.path.relpath(str(path), tmp_path))

    def note_sync(descriptor: int) -> None:
        seen.append(f"sync {name(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        fsync(descriptor)

    def note_rename(source: Path, target: Path, *arguments: Any) -> None:
        seen.append(f"{name(source)} -> {name(target)}")
        rename(source, target, *arguments)

    def write(folder: Path) -> None:
        (folder / "weights").write_text("new")

    folder = tmp_path / "run/last"
    folder.parent.mkdir()
    write_folder(folder, write, keep)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", note_sync)
        patch.setattr("os.rename", note_rename)
        patch.setattr("os.replace", note_rename)
        write_folder(folder, write, keep)
        write_text(tmp_path / "run/result.json", "new")
    first, retired = "run/last.new.unfinished", "run/last_2" if keep == 2 else ""
    assert seen == [
        f"sync {first}/weights",
        f"sync {first}",
        "run/last -> run/last.previous",
        f"{first} -> run/last",
        "sync run",
        f"run/last.previous -> {retired or first}",
        "sync run/new.unfinished",
        "run/new.unfinished -> run/result.json",
        "sync run",
    ]


def test_a_line_is_appended_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines"
    append_line(path, "first")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WriteError, match="lines: cannot be written"):
        append_line(path, "second")
    assert path.read_text() == "first\n"


def test_a_folder_that_vanished_is_one_sentence(tmp_path: Path) -> None:
    for write in WRITERS[:2]:
        with pytest.raises(WriteError, match=r"content: cannot be written \(No such file"):
            write(tmp_path / "missing" / "content")
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot be written \(Not a directory\)"):
        write_text(tmp_path / "file" / "content", "")


def test_a_run_folder_that_vanished_stays_so(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "recipe", "run", 0)
    folder.path.rmdir()
    for write in (
        lambda: folder.append_metrics({"epoch": 1}),
        lambda: folder.write_scores("val", {"images": 1}, COUNTS, ["a"]),
        lambda: write_folder(folder.checkpoint("last"), lambda path: None),
    ):
        with pytest.raises(WriteError, match=r"cannot be written \(No such file"):
            write()
    assert not folder.path.exists()


def test_long_names_are_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("x" * 255), "text")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
