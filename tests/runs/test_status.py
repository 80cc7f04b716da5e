"""The state of runs: read from their files, and from the lock that the process of a run holds."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from filelock import FileLock

from hieraseg.cli import main
from hieraseg.errors import DataError, DivergedError, RecipeError
from hieraseg.runs.ending import hold, let_go
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.status import read_status, read_statuses
from hieraseg.runs.verifying import compare_runs
from tests.support.oracle import write_oracle_recipe
from tests.support.runs import read_json, read_metrics

HOLD = """
import sys, time
from pathlib import Path
from hieraseg.runs.ending import hold
from hieraseg.runs.folder import RunFolder
lock = hold(RunFolder(Path(sys.argv[1])))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def unfinished(trained_run: Path, tmp_path: Path) -> RunFolder:
    """A run of two epochs that was killed after the first one."""
    copy = Path(shutil.copytree(trained_run, tmp_path / "runs/recipe/base-seed0"))
    first = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)[0]
    (copy / "metrics.jsonl").write_text(first + '{"epoch": 2, "lo')
    (copy / "result.json").unlink()
    return RunFolder(copy)


def test_a_finished_run(trained_run: Path) -> None:
    status = read_status(RunFolder(trained_run))
    levels = read_json(trained_run / "result.json")["splits"]["val"]["levels"]
    assert (status.state, status.seed, status.problem) == ("finished", 0, "")
    assert (status.epoch, status.epochs, status.score) == (2, 2, levels[-1]["miou"])
    files = [path for path in trained_run.rglob("*") if path.is_file()]
    assert status.bytes == sum(path.stat().st_size for path in files)
    assert status.changed == max(path.stat().st_mtime for path in trained_run.glob("*.json*"))
    assert not (trained_run / "run.lock").exists(), "gone when a run has ended"


def test_a_finished_run_of_an_older_version(
    unfinished: RunFolder, trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which recorded less of its cost: how long it trained is not known, nor said."""
    result = read_json(trained_run / "result.json")
    content = {"splits": result["splits"], "cost": {"seconds": 1.0}}
    unfinished.result.write_text(json.dumps(content))
    status = read_status(unfinished)
    assert (status.state, status.epochs) == ("finished", None)
    assert main(["resume", str(unfinished.path)]) == 0
    assert "is finished after 2 epochs; to train it further" in capsys.readouterr().err
    found = compare_runs(unfinished, RunFolder(trained_run))
    assert not found.result


def test_a_run_is_running_until_its_process_ends_however_it_ends(unfinished: RunFolder) -> None:
    assert read_status(unfinished).state == "stopped"
    command = [sys.executable, "-c", HOLD, str(unfinished.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        status = read_status(unfinished)
        assert (status.state, status.epoch, status.epochs) == ("running", 1, 2)
        process.kill()
    assert read_status(unfinished).state == "stopped"
    assert main(["clean", str(unfinished.path), "--dry-run"]) == 0


def test_the_score_of_an_unfinished_run_is_the_best_so_far(unfinished: RunFolder) -> None:
    record = json.loads(unfinished.metrics.read_text().splitlines()[0])
    lines = []
    for epoch, miou in enumerate([0.25, 0.75, None, 0.5], 1):
        record["passes"] = float(epoch)
        record["val"]["levels"][-1]["miou"] = miou
        lines.append(json.dumps(record) + "\n")
    unfinished.metrics.write_text("".join(lines))
    status = read_status(unfinished)
    assert (status.epoch, status.score) == (4, 0.75)
    unfinished.metrics.unlink()
    status = read_status(unfinished)
    assert (status.state, status.epoch, status.score) == ("stopped", 0, None)


def test_a_link_is_no_lock(unfinished: RunFolder, tmp_path: Path) -> None:
    """It may come with a run folder that was passed on, and lead to any file."""
    other = tmp_path / "other"
    other.write_text("precious")
    unfinished.lock.symlink_to(other)
    assert read_status(unfinished).state == "stopped"
    hold(unfinished)
    assert read_status(unfinished).state == "running"
    let_go(unfinished)
    assert other.read_text() == "precious"


def test_a_lock_that_this_user_may_not_open_is_no_answer(
    unfinished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished.lock.touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may open everything
    assert read_status(unfinished).state == "unknown"


def test_a_file_that_this_user_may_not_read_is_not_called_damaged(
    unfinished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr(Path, "open", Mock(side_effect=denied))  # root may open everything
    with pytest.raises(RecipeError, match=r"cannot be read \(Permission denied\); make it"):
        unfinished.read_provenance()


def test_who_looks_whether_a_run_still_runs_does_not_keep_it_from_going_on(
    unfinished: RunFolder,
) -> None:
    """As `list runs` does, which takes the lock for a moment."""
    looking = FileLock(unfinished.lock, thread_local=False)
    looking.acquire()
    threading.Timer(0.2, looking.release).start()
    assert hold(unfinished).is_locked
    let_go(unfinished)


def test_failed_runs_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error that ends a run after it has a folder: a user's, a fault, or Ctrl-C."""
    recipe, errors = write_oracle_recipe(tmp_path), {}

    def fail(*arguments: object) -> None:
        raise errors["next"]

    monkeypatch.setattr("hieraseg.train.train_and_score", fail)
    cases = {
        "diverged": DivergedError("the loss is not finite; lower optimizer.lr"),
        "failed": DataError("a.png: is damaged; restore it"),
        "interrupted": KeyboardInterrupt(),
    }
    for number, (state, error) in enumerate(cases.items()):
        errors["next"] = error
        out = tmp_path / str(number)
        assert main(["run", recipe, "--out", str(out)]) in (3, 4, 130)
        (status,) = read_statuses(out)
        assert (status.state, status.problem) == (state, str(error))
    errors["next"] = ValueError("two\nlines")
    with pytest.raises(ValueError, match="two"):
        main(["run", recipe, "--out", str(tmp_path / "fault")])
    (status,) = read_statuses(tmp_path / "fault")
    assert (status.state, status.problem) == ("failed", "ValueError: two")


@pytest.mark.parametrize("name", ["recipe.yaml", "result.json", "provenance.json", "failure.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"training": 1}', '{"splits": {"val": 1}}'])
def test_damaged_files_do_not_hide_the_other_runs(
    unfinished: RunFolder, trained_run: Path, name: str, content: str
) -> None:
    root = unfinished.path.parents[1]
    other = Path(shutil.copytree(trained_run, root / "recipe/other-seed0"))
    (other if name in ("result.json", "provenance.json") else unfinished.path).joinpath(
        name
    ).write_text(content)
    states = {run.path.name: run for run in read_statuses(root)}
    assert len(states) == 2
    damaged = [run for run in states.values() if run.state == "damaged"]
    assert [name in run.problem for run in damaged] == [True]


def test_a_folder_that_this_user_may_not_see_does_not_hide_the_runs(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, scandir = RunFolder(Path(shutil.copytree(trained_run, tmp_path / "run"))), os.scandir

    def refuse(path: Any) -> Any:  # as root may see everything
        if Path(path).name == "checkpoints":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    monkeypatch.setattr("hieraseg.runs.status.saved_step", Mock(side_effect=PermissionError))
    status = read_status(run)
    assert (status.state, status.step) == ("finished", None)
    assert status.bytes > 0


def test_runs_are_sorted_by_their_last_change(trained_run: Path, tmp_path: Path) -> None:
    names = ["b-seed0", "a-seed0", "c-seed0"]
    for age, name in zip((300, 200, 100), names, strict=True):
        copy = Path(shutil.copytree(trained_run, tmp_path / "recipe" / name))
        for file in copy.glob("*.*"):
            os.utime(file, (1e9 - age, 1e9 - age))
    assert [run.path.name for run in read_statuses(tmp_path)] == names
    assert len(read_metrics(tmp_path / "recipe" / names[0])) == 2
    with FileLock(tmp_path / "recipe" / names[0] / "run.lock"):
        assert read_statuses(tmp_path)[0].state == "finished", "figures may still be drawn"
