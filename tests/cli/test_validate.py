"""`hieraseg validate`: one line per valid recipe, and all problems of the others."""

import json
from pathlib import Path

import pytest

from hieraseg.cli import main
from tests.support.components import VALID, fakes  # noqa: F401

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def wrong_recipe(tmp_path: Path) -> str:
    """A recipe file with two misspelt keys."""
    path = tmp_path / "wrong.yaml"
    path.write_text(VALID.replace("gamma", "gama").replace("epochs", "epoch"))
    return str(path)


def test_valid_recipe(recipe: str, capsys: Captured) -> None:
    assert main(["validate", recipe]) == 0
    assert capsys.readouterr() == (f"{recipe}: ok\n", "")


def test_all_problems_of_all_recipes(recipe: str, wrong_recipe: str, capsys: Captured) -> None:
    assert main(["validate", recipe, wrong_recipe]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split(": ")[:2] for line in out.splitlines()] == [
        [recipe, "ok"],
        [f"{wrong_recipe}:7", "loss.gama"],
        [f"{wrong_recipe}:11", "training.epoch"],
    ]


def test_json(recipe: str, wrong_recipe: str, capsys: Captured) -> None:
    assert main(["validate", wrong_recipe, recipe, "--json"]) == 2
    first, second = json.loads(capsys.readouterr().out)
    assert (first["recipe"], first["ok"], len(first["problems"])) == (wrong_recipe, False, 2)
    assert second == {"recipe": recipe, "ok": True, "problems": []}


def test_overrides_are_checked(recipe: str, capsys: Captured) -> None:
    assert main(["validate", recipe, "--training.seed", "x"]) == 2
    out = capsys.readouterr().out
    assert out.startswith("command line: training.seed: expected an int")
    assert out.endswith("got 'x'\n")


SWEEP = """\
sweep:
  grid: {optimizer.lr: [1e-3, 1e-4]}
  rows: {a: {loss: {name: fake_loss, gamma: 0}}, b: {loss: {name: fake_loss, gamma: 1}}}
"""


def test_all_jobs_of_a_sweep(tmp_path: Path, capsys: Captured) -> None:
    """Problems that only some of them have are named."""
    path = tmp_path / "study.yaml"
    path.write_text(VALID + SWEEP)
    assert main(["validate", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: ok, 4 jobs\n"
    path.write_text(VALID + SWEEP.replace("gamma: 1", "gama: 1"))
    assert main(["validate", str(path)]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"b, optimizer.lr=0.001 and 1 more: {path}:14: loss.gama: ")
    assert main(["validate", str(path), "--json"]) == 2
    (result,) = json.loads(capsys.readouterr().out)
    assert result["problems"] == [line]
