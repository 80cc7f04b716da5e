"""`hieraseg list runs`."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from hieraseg.cli import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def runs(trained_run: Path, tmp_path: Path) -> Path:
    """A folder with a finished run, one that diverged two hours ago, and one that was killed."""
    root = tmp_path / "runs"
    for name in ("finished", "diverged", "stopped"):
        copy = Path(shutil.copytree(trained_run, root / "recipe" / f"{name}-seed0"))
        if name != "finished":
            (copy / "result.json").unlink()
        if name == "diverged":
            failure = {"state": "diverged", "message": "the loss is not finite; lower optimizer.lr"}
            (copy / "failure.json").write_text(json.dumps(failure))
            ago = time.time() - 2 * 3600 - 60
            for file in copy.glob("*.*"):
                os.utime(file, (ago, ago))
    return root


def test_a_line_per_run(runs: Path, capsys: Captured) -> None:
    assert main(["list", "runs", str(runs)]) == 0
    header, _, *lines, _, problem, _, hint = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "state", "epoch", "checkpoint", "val", "mIoU", "MB", "age"]
    assert lines[0].startswith("recipe/diverged-seed0")
    assert lines[0].split()[1:5] == ["diverged", "2/2", "step", "6"]
    assert lines[0].endswith("2 h")
    assert problem == "recipe/diverged-seed0: the loss is not finite; lower optimizer.lr"
    assert f"`hieraseg resume {runs / 'recipe/stopped-seed0'}`" in hint


def test_leftovers_of_killed_runs_are_counted(runs: Path, capsys: Captured) -> None:
    leftover = runs / "recipe/stopped-seed0/checkpoints/last.0123abcd.unfinished"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"0" * 2_000_000)
    assert main(["list", "runs", str(runs)]) == 0
    assert "leftovers" not in capsys.readouterr().err, "they may still be written"
    for path in (leftover / "model.safetensors", leftover):
        os.utime(path, (1e9, 1e9))
    assert main(["list", "runs", str(runs)]) == 0
    said = capsys.readouterr().err
    assert said.startswith("1 leftovers of processes that ended, 2.0 MB; remove them with")
    assert main(["clean", str(runs)]) == 0
    assert not leftover.exists()


def test_json_and_states(runs: Path, capsys: Captured) -> None:
    assert main(["list", "runs", str(runs), "--json", "--state", "stopped"]) == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert run["run"] == str(runs / "recipe/stopped-seed0")
    assert (run["state"], run["seed"], run["epoch"], run["epochs"]) == ("stopped", 0, 2, 2)
    assert (run["step"], run["can_be_resumed"]) == (6, True)
    assert 0 <= run["miou"] <= 1
    assert run["bytes"] > 1000


def test_a_narrow_terminal(runs: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hieraseg.cli.layout.terminal_width", lambda: 40)
    assert main(["list", "runs", str(runs), "--state", "finished"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 40
    assert "finished" in out


def test_a_folder_without_runs(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["list", "runs"]) == 0
    assert capsys.readouterr().out == "no runs in runs\n"


def test_a_link_to_a_disk_that_is_not_there_is_no_empty_folder(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to("not/mounted")
    assert main(["list", "runs"]) == 2
    assert "runs: no such folder; name one that" in capsys.readouterr().err


def test_folders_that_cannot_be_read_are_said_to_be_left_out(
    runs: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of another user."""
    secret = runs / "recipe/stopped-seed0"
    list_folder = os.scandir

    def scandir(path: str | Path) -> object:
        if Path(path) == secret:
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr("os.scandir", scandir)
    assert main(["list", "runs", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"warning: {secret}: cannot be read, so runs in there are left out; ")
    assert "recipe/finished-seed0" in out
    assert "stopped" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs", "no/such"], "no/such: no such folder; name one that"),
        (["runs", "--state", "runing"], "--state: unknown 'runing', did you mean 'running'?"),
        (["losses", "--state", "running"], "--state: needs `hieraseg list runs`"),
        (["run"], "did you mean 'runs'?"),
    ],
)
def test_problems_are_one_sentence(arguments: list[str], message: str, capsys: Captured) -> None:
    assert main(["list", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
