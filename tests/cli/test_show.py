"""`hieraseg show`: the resolved recipe, and the origin of its values."""

import io
import json
import sys
from pathlib import Path

import pytest
import yaml

from hieraseg.cli import main
from hieraseg.recipe import load
from tests.support.components import fakes  # noqa: F401

Captured = pytest.CaptureFixture[str]


def test_output_is_a_recipe_of_the_same_run(recipe: str, tmp_path: Path, capsys: Captured) -> None:
    overrides = ["--training.epochs", "5", "--loss.gamma=-1", "--optimizer.lr", "-3e-4"]
    assert main(["show", *overrides, recipe, "--data.size", "[4, 6]"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    copy = tmp_path / "copy.yaml"
    copy.write_text(out)
    shown = load(copy)
    assert shown.training.epochs == 5
    assert shown["loss"].arguments["gamma"] == -1
    assert shown["optimizer"].arguments["lr"] == -3e-4
    assert shown["data"].arguments["size"] == (4, 6)
    assert shown["loss"].name == "fake_loss"


def test_terminal_without_the_characters_of_a_value(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output is the same recipe nevertheless, as JSON."""
    arguments = ["show", recipe, "--data.root", "t\u00eate"]
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(arguments) == 0
    copy = tmp_path / "copy.yaml"
    copy.write_bytes(stdout.buffer.getvalue())  # type: ignore[attr-defined]
    assert load(copy).to_dict() == load(recipe, [("data.root", "t\u00eate")]).to_dict()


def test_another_component(recipe: str, capsys: Captured) -> None:
    assert main(["show", recipe, "--loss.delta", "3", "--loss", "other_loss", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == {"name": "other_loss", "delta": 3}


def test_origin(recipe: str, capsys: Captured) -> None:
    assert main(["show", recipe, "--origin", "--training.epochs", "5"]) == 0
    out = capsys.readouterr().out
    assert f"  gamma: 0.3  # {recipe}:7\n" in out
    assert "  epochs: 5  # command line\n" in out
    assert "  batch_size: 16  # default\n" in out
    assert yaml.safe_load(out)["training"]["epochs"] == 5
    assert main(["show", recipe, "--origin", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipe"]["loss"]["gamma"] == 0.3
    assert shown["origin"]["loss.gamma"] == f"{recipe}:7"


def test_recipe_with_a_problem(recipe: str, capsys: Captured) -> None:
    assert main(["show", recipe, "--loss.gama", "1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hieraseg: error: command line: loss.gama: ")
