"""Runs that cannot go on, with the reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from hieraseg.cli import main
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.resuming import MAY_CHANGE
from tests.support.resuming import KilledRuns, contents, resume
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]


def test_without_a_checkpoint_it_says_what_to_do(killed_runs: KilledRuns, capsys: Captured) -> None:
    assert resume(killed_runs.copies[0]) == 2
    assert "has no checkpoint to go on from; run its recipe again" in capsys.readouterr().err


def _change_data(run: Path) -> None:
    _change(run, lambda record: record["data"].update(train="other"))


def _change_component(run: Path) -> None:
    _change(run, lambda record: record["plugins"]["decoder"][0].update(sha256="other"))


def _change_package(run: Path) -> None:
    _change(run, lambda record: record["code"].update(version="0.0.1"))


def _change_file(run: Path) -> None:
    _change(run, lambda record: record["code"].update(sources="other", files={"train.py": "0"}))


def _change_recipe(run: Path) -> None:
    """By hand, which the recipe of the run's beginning shows."""
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("momentum: 0.9", "momentum: 0.8"))


def _damage_recipe(run: Path) -> None:
    _change(run, lambda record: record.update(recipe="training: ["))


def _change(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = read_json(run / "provenance.json")
    change(record)
    (run / "provenance.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change_data, "the data of split 'train': 12 images, other -> 12 images, "),
        (_damage_recipe, "provenance.json: recipe: is damaged (not valid YAML"),
        (_change_recipe, "optimizer.momentum: 0.9 -> 0.8; undo that"),
        (_change_file, "hieraseg itself (sources: __init__.py, "),
        (_change_component, "the code of decoder 'pointwise'"),
        (_change_package, "hieraseg itself (version): 0.0.1 -> "),
    ],
)
def test_what_has_changed_is_refused(
    killed: Path, capsys: Captured, change: Callable[[Path], None], message: str
) -> None:
    change(killed)
    before = contents(killed)
    assert resume(killed) == 2
    assert message in capsys.readouterr().err
    assert contents(killed) == before


def test_other_keys_cannot_be_changed(killed: Path, capsys: Captured) -> None:
    assert resume(killed, "--optimizer.lr", "1") == 2
    said = capsys.readouterr().err
    assert "--optimizer.lr: cannot be changed when a run is resumed (0.5 -> 1); what can" in said


def test_the_help_names_all_keys_that_can_be_changed(capsys: Captured) -> None:
    assert main(["resume", "--help"]) == 0
    said = capsys.readouterr().out
    assert [key for key in MAY_CHANGE if key not in said] == []


def test_a_run_that_goes_on_elsewhere_is_left_alone(killed: Path, capsys: Captured) -> None:
    with FileLock(RunFolder(killed).lock):
        assert resume(killed) == 2
    assert "still runs" in capsys.readouterr().err
