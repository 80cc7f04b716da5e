"""`hieraseg run` with several jobs: what is skipped, what a failure leaves, and what is printed."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from filelock import FileLock

from hieraseg.cli import main
from hieraseg.errors import DivergedError
from hieraseg.runs.folder import RunFolder
from tests.cli.conftest import Training
from tests.support.earlier import LATER, unfinish
from tests.support.runs import QUICKSTART, read_json

Captured = pytest.CaptureFixture[str]


def test_a_finished_job_is_skipped(
    run: Callable[..., int], earlier: Path, training: Training, capsys: Captured
) -> None:
    assert run("--seeds", "0", "1", "--json") == 0
    assert training.done == [("tree_min", 1)]
    out, err = capsys.readouterr()
    first, second = json.loads(out)
    assert (first["run"], first["state"], second["state"]) == (str(earlier), "skipped", "finished")
    assert first["splits"]["val"] == read_json(earlier / "result.json")["splits"]["val"]
    assert f"skipped: {earlier} is finished\n" in err
    assert run("--seeds", "0", "1") == 0
    assert len(training.done) == 1, "both are finished now"


@pytest.mark.parametrize("options", [("--seeds", "0", "--again"), ()])
def test_jobs_that_are_run_again(
    options: tuple[str, ...],
    run: Callable[..., int],
    earlier: Path,
    training: Training,
) -> None:
    """On request, and without a sweep always."""
    assert run(*options) == 0
    assert training.done == [("tree_min", 0)]
    assert len(list(earlier.parent.iterdir())) == 2


def change_data(folder: Path) -> None:
    record = read_json(folder / "provenance.json")
    record["data"]["val"] = "0" * 64
    (folder / "provenance.json").write_text(json.dumps(record))


def change_code(folder: Path) -> None:
    record = read_json(folder / "provenance.json")
    record["plugins"]["loss"][0] |= {"sha256": "0" * 64, "sources": "0" * 64}
    (folder / "provenance.json").write_text(json.dumps(record))


def damage_record(folder: Path) -> None:
    (folder / "provenance.json").write_text("{")


def change_setting(folder: Path) -> None:
    text = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(re.sub(r"(?m)^  lr: .*", "  lr: 7.5", text))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_data, " has other settings, code or data"),
        (change_code, " has other settings, code or data"),
        (change_setting, " has other settings, code or data"),
        (damage_record, r"/provenance.json: is damaged \(.*\)"),
        (lambda folder: unfinish(folder, "checkpoints"), " has no checkpoint to go on from"),
    ],
)
def test_an_earlier_run_that_does_not_count(
    change: Callable[[Path], Any],
    reason: str,
    run: Callable[..., int],
    earlier: Path,
    training: Training,
    capsys: Captured,
) -> None:
    """It stays, and the job gets a folder of its own."""
    change(earlier)
    assert run("--seeds", "0") == 0
    assert training.done == [("tree_min", 0)]
    err = capsys.readouterr().err
    assert re.search(rf"run anew: \S+, since {re.escape(str(earlier))}{reason}\n", err)
    assert len(list(earlier.parent.iterdir())) == 2


def test_an_unfinished_job_is_resumed(
    run: Callable[..., int],
    earlier: Path,
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    """From its checkpoint, after which no step of the six is left; the others are new."""
    unfinish(earlier)
    resumed = Mock(side_effect=lambda folder, recipe, command: RunFolder(training.finished))
    monkeypatch.setattr("hieraseg.train.resume", resumed)
    assert run("--seeds", "0", "1", "--dry-run", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["jobs"]
    assert (first["state"], first["step"], first["steps"]) == ("to resume", 6, 0)
    assert (second["state"], second["step"], second["steps"]) == ("to run", None, 6)
    assert run("--seeds", "0", "1", "--dry-run") == 0
    assert "to resume after step 6" in capsys.readouterr().out
    assert run("--seeds", "0", "1") == 0
    assert f"resumed: {earlier}, after step 6" in capsys.readouterr().err
    assert resumed.call_args.args[0].path == earlier
    assert training.done == [("tree_min", 1)]


def test_a_job_that_runs_elsewhere_is_left_to_it(
    run: Callable[..., int], earlier: Path, training: Training, capsys: Captured
) -> None:
    """As that of another command; this one says that not all is done."""
    unfinish(earlier)
    with FileLock(earlier / "run.lock"):
        assert run("--seeds", "0", "1") == 75
        assert training.done == [("tree_min", 1)]
        out, err = capsys.readouterr()
        assert f"skipped: {earlier} runs elsewhere" in err
        assert "runs elsewhere" in out
        assert run("--seeds", "0", "--dry-run") == 0
    assert "0 of 1 jobs to run" in capsys.readouterr().out


def test_a_job_that_another_command_begins_meanwhile_is_left_to_it(
    run: Callable[..., int],
    earlier: Path,
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    """Between the plan of this command, which finds no run of seed 0, and the job's turn."""
    hidden = earlier.rename(earlier.with_name("hidden"))
    unfinish(hidden)
    with FileLock(hidden / "run.lock") as lock:
        monkeypatch.setattr(training, "before", lambda: hidden.rename(earlier))
        assert run("--seeds", "1", "0") == 75
        lock.release()
    assert training.done == [("tree_min", 1)]
    assert f"skipped: {earlier} runs elsewhere" in capsys.readouterr().err


def test_two_commands_at_once_share_the_jobs(
    run: Callable[..., int], training: Training, capsys: Captured, tmp_path: Path
) -> None:
    """The second one begins while the first trains, whose run has no folder yet."""
    codes = []

    def second() -> None:
        training.before = lambda: None
        codes.append(run("--seeds", "0", "1"))

    training.before = second
    assert run("--seeds", "0", "1") == 0
    assert codes == [75]
    assert sorted(training.done) == [("tree_min", 0), ("tree_min", 1)]
    assert len(list(tmp_path.glob("*/*-seed*"))) == 2, "no lock is left"


def test_a_run_that_left_nothing_is_replaced(
    run: Callable[..., int], earlier: Path, training: Training
) -> None:
    unfinish(earlier, *LATER)
    assert run("--seeds", "0") == 0
    assert training.done == [("tree_min", 0)]
    assert list(earlier.parent.iterdir()) == [earlier]


@pytest.mark.parametrize("name", ["notes.txt", "figures", "metrics.jsonl"])
def test_a_run_that_left_anything_is_kept(
    run: Callable[..., int], earlier: Path, training: Training, name: str
) -> None:
    unfinish(earlier, *LATER)
    (earlier / name).touch()
    assert run("--seeds", "0") == 0
    assert training.done == [("tree_min", 0)]
    assert (earlier / name).exists()


def test_a_study_goes_on_after_failures(
    run: Callable[..., int], training: Training, tmp_path: Path, capsys: Captured
) -> None:
    """Of the data, of training, or of the code, whose traceback is printed."""
    study = tmp_path / "study.yaml"
    rows = "rows: {a: {loss: tree_min}, b: {loss: weighted_ce}, c: {loss: {name: marginal_ce}}}"
    study.write_text(f"base: {QUICKSTART}\nsweep:\n  {rows}\n")
    training.errors = {"tree_min": DivergedError("the loss is nan"), "weighted_ce": KeyError("x")}
    assert run(recipe=study) == 4
    assert [loss for loss, _ in training.done] == ["tree_min", "weighted_ce", "marginal_ce"]
    out, err = capsys.readouterr()
    states = [line.split()[1] for line in out.splitlines() if line.startswith("study/")]
    assert states == ["failed", "failed", "finished"]
    assert "Traceback" in err
    assert re.search(r"error: study/a\S*: the loss is nan \(exit code 4\)\n", err)
    assert re.search(r"error: study/b\S*: KeyError: 'x'; see the traceback above", err)
    training.errors.clear()
    assert run("--rows", "b", "c", recipe=study) == 0
    assert [loss for loss, _ in training.done[3:]] == ["weighted_ce", "marginal_ce"]


def test_the_command_that_compares_can_be_pasted(
    run: Callable[..., int], training: Training, tmp_path: Path, capsys: Captured
) -> None:
    study = tmp_path / "my study.yaml"
    study.write_text(f"base: {QUICKSTART}\nsweep: {{rows: {{a: {{loss: bce}}, b: }}}}\n")
    assert run(recipe=study) == 0
    command = capsys.readouterr().err.rpartition("compare: hieraseg ")[2]
    assert main(shlex.split(command)) == 0
    assert "my study" in capsys.readouterr().out


def test_nothing_runs_if_a_job_has_a_problem(
    run: Callable[..., int], training: Training, capsys: Captured
) -> None:
    assert run("--sweep", "loss=tree_min,marginal_ce", "--sweep", "loss.gamma=0") == 2
    assert not training.done
    assert "loss=marginal_ce, loss.gamma=0: command line: loss.gamma" in capsys.readouterr().err


def test_dry_run(
    run: Callable[..., int], earlier: Path, training: Training, capsys: Captured
) -> None:
    """12 images in batches of 4 for 2 epochs are 6 steps."""
    options = ("--sweep", "loss.gamma=0,1", "--seeds", "0", "1", "--dry-run")
    assert run(*options, "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["steps"], planned["images"]) == (24, 96)
    assert [job["settings"] for job in planned["jobs"][1:3]] == [
        {"loss.gamma": "0.0"},
        {"loss.gamma": "1.0"},
    ]
    assert run("--seeds", "0", "1", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "1 of 2 jobs to run" in out
    assert "6 steps, 24 images" in out
    assert not training.done
