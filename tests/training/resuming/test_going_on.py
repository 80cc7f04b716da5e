"""Runs that go on again and again, and those that get more epochs."""

import json
import math
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest
from benchmarks.kills import outcome

from hieraseg.cli import main
from hieraseg.runs import ending
from hieraseg.runs.folder import RunFolder
from tests.support.resuming import CUT, SETTINGS, KilledRuns, contents, resume, start
from tests.support.runs import read_json, read_metrics

Captured = pytest.CaptureFixture[str]


def test_the_command_that_began_a_run_goes_on_with_it(
    killed_runs: KilledRuns, killed: Path, recipe: str, tmp_path: Path, capsys: Captured
) -> None:
    """Again and again, as a cluster submits it; the last time there is nothing left to do."""
    run = tmp_path / killed_runs.whole.relative_to(killed_runs.whole.parents[1])
    shutil.copytree(killed, run)
    command = ["run", recipe, *SETTINGS, *CUT, "--out", str(tmp_path), "--resume"]
    assert main(command) == 0
    assert f"resumed: {run}, after step " in capsys.readouterr().err
    assert outcome(run) == outcome(killed_runs.whole)
    before = contents(run)
    assert main([*command, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["run"] == str(run)
    assert contents(run) == before
    assert resume(run, "--logging.images", "1", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == result
    assert "is finished after 3 epochs; to train it further, increase --training.epochs" in err
    assert contents(run) == before
    assert list(run.parent.iterdir()) == [run]


def test_a_finished_run_can_have_more_epochs(recipe: str, tmp_path: Path, capsys: Captured) -> None:
    """It goes on as one that had as many from the beginning, but for the learning rates so far.

    The same command given again, as by a script, has nothing left to do.
    """
    assert start(recipe, tmp_path, "--training.max_steps", "null") == 0
    (run,) = tmp_path.glob("*/*")
    assert resume(run) == 0
    assert resume(run, "--training.epochs", "2") == 2
    assert "error: " + str(run) + ": is finished after 3 epochs" in capsys.readouterr().err
    assert resume(run, "--training.epochs", "5") == 0
    ended = contents(run)
    assert resume(run, "--training.epochs", "5") == 0
    assert contents(run) == ended
    assert [record["epoch"] for record in read_metrics(run)] == [1, 2, 3, 4, 5]
    assert read_json(run / "result.json")["cost"]["epochs"] == 5
    assert "epochs: 5\n" in (run / "recipe.yaml").read_text()
    rates = [record["learning_rate"] for record in read_metrics(run)]
    assert rates[2] == 0.0  # the end of three epochs
    assert rates[3] == pytest.approx(0.25 * (1 + math.cos(math.pi * 12 / 15)), rel=0.2)


def test_a_run_goes_on_after_it_was_killed_each_time_that_it_was_to_go_on(killed: Path) -> None:
    """Once between its recipe and its provenance, then before it has a checkpoint of its own."""
    moments_of_death = ["hieraseg.training.restoring.write_json", "hieraseg.train.Recorder"]
    for patience, place in zip(("20", "21"), moments_of_death, strict=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, Mock(side_effect=SystemError))
            with pytest.raises(SystemError):
                resume(killed, "--validation.patience", patience)
        ending.release(RunFolder(killed), ending.hold(RunFolder(killed)), None)
    assert resume(killed, "--validation.patience", "21") == 0
    assert read_metrics(killed)[-1]["step"] == 8
