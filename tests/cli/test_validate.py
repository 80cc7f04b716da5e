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
