"""`hieraseg list KIND NAME --filter TEXT`: the models of a component that wraps many."""

import json
from pathlib import Path

import pytest

from hieraseg.cli import main

Captured = pytest.CaptureFixture[str]
PLUGIN = '''
from functools import partial
from torch import nn
from hieraseg import registry
from hieraseg.contracts import Choice

@registry.backbones.register("zoo")
class Zoo(nn.Module):
    """Animals."""

    @staticmethod
    def choices(filter):
        names = ["cat", *(f"cow_{number}" for number in range(105))]
        return [Choice(name, partial(details, name)) for name in names if filter in name]

def details(name):
    return {"parameters": 1000 * len(name), "weights": [name, "other"]}
'''


@pytest.fixture
def plugin(tmp_path: Path) -> list[str]:
    """Arguments that name a component with 106 choices."""
    path = tmp_path / "zoo.py"
    path.write_text(PLUGIN)
    return ["backbones", "zoo", "--plugin", str(path)]


def test_choices_that_contain_a_text(plugin: list[str], capsys: Captured) -> None:
    assert main(["list", *plugin, "--filter", "cow_10"]) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["NAME", "PARAMETERS", "WEIGHTS"]
    assert rows[1] == ["cow_10", "6,000", "cow_10, other"]
    assert [row[0] for row in rows[2:]] == [f"cow_10{last}" for last in range(5)]
    assert main(["list", *plugin, "--filter", "cat", "--json"]) == 0
    expected = [{"name": "cat", "parameters": 3000, "weights": ["cat", "other"]}]
    assert json.loads(capsys.readouterr().out) == expected


def test_those_that_are_not_shown_are_counted(plugin: list[str], capsys: Captured) -> None:
    assert main(["list", *plugin, "--filter", "c", "--json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == 100
    assert captured.err == "6 more contain 'c'; --filter more of a name\n"


def test_nothing_to_list(plugin: list[str], capsys: Captured) -> None:
    for arguments, problem in (
        ([*plugin, "--filter", "dog"], "contains 'dog'; try less of it"),
        (["backbones", "resnet50", "--filter", "r"], "backbone resnet50 wraps no other models"),
        (["backbones", "--filter", "r"], "--filter: needs KIND and NAME"),
        (["training", "epochs", "--filter", "r"], "--filter: needs KIND and NAME"),
    ):
        assert main(["list", *arguments]) == 2
        captured = capsys.readouterr()
        assert not captured.out
        assert captured.err.startswith("hieraseg: error: ")
        assert problem in captured.err
        assert captured.err.count("\n") == 1


def test_models_of_timm(capsys: Captured) -> None:
    """With the parameters that the model cards say."""
    assert main(["list", "backbones", "timm", "--filter", "resnet50d", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["resnet50d"]["parameters"] == 25_576_264
    assert "ra2_in1k" in listed["resnet50d"]["weights"]
