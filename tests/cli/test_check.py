"""`hieraseg check`: its report, its exit codes, and what it says of what it cannot check."""

import json
import re
from pathlib import Path
from typing import Any

import catalogue
import pytest
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from hieraseg import Hierarchy, cli, registry

Capture = pytest.CaptureFixture[str]


def stuck(optimizer: Optimizer, total_steps: int, power: float = 1.0) -> LRScheduler:
    """Divides by zero where a training has one step.

    Args:
        power: exponent of the decay.
    """
    return LambdaLR(optimizer, lambda step: _share(step, total_steps) ** power)


def _share(step: int, total_steps: int) -> float:
    return 1 - min(step / (total_steps - 1), 1)


def small_tree(leaves: int = 2) -> Hierarchy:
    """A tree.

    Args:
        leaves: how many.
    """
    return Hierarchy.from_tree([f"leaf{index}" for index in range(leaves)])


def untyped(parameters: Any, lr=0.1) -> Optimizer:  # type: ignore[no-untyped-def]
    """Its argument has no type."""
    return SGD([one for own in parameters.values() for one in own], lr=lr)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "REGISTRY", dict(catalogue.REGISTRY))
    registry.schedules.register("stuck")(stuck)
    registry.hierarchies.register("small_tree")(small_tree)
    registry.optimizers.register("untyped")(untyped)


def test_all_properties_hold(capsys: Capture) -> None:
    assert cli.main(["check", "schedules", "cosine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "schedule cosine, from hieraseg (hieraseg_plugins.schedules.cosine:cosine)"
    assert "ok       The same training has the same learning rates again." in lines
    assert lines[-1].startswith("7 of 7 properties hold, in ")


def test_a_failure_says_why_and_where(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    assert cli.main(["check", "schedule", "stuck"]) == 2
    captured = capsys.readouterr()
    sentence = "In a training of any length, learning rates are finite, from 0 up, and not all 0."
    line = _share.__code__.co_firstlineno + 1
    assert captured.out.count(sentence) == 2
    assert f"FAILED   {sentence}\n" in captured.out
    report = captured.out.partition("FAILED: ")[2]
    assert "    ZeroDivisionError: division by zero\n" in report
    assert f"    at test_check.py:{line}\n" in report
    assert "    with defaults-1\n" in report
    assert "6 of 7 properties hold, 1 failed, in " in report
    assert "Traceback" not in captured.out + captured.err


def test_the_same_as_data(capsys: Capture) -> None:
    assert cli.main(["check", "schedules", "stuck", "--json", "--schedule.power=2"]) == 2
    about = json.loads(capsys.readouterr().out)
    assert (about["section"], about["name"], about["ok"]) == ("schedule", "stuck", False)
    found = {one["name"]: one for one in about["properties"]}
    rates = found["test_learning_rates_are_numbers_from_0_up"]
    assert rates["outcome"] == "failed"
    cases = {case["name"]: case for case in rates["cases"]}
    assert cases["power=2.0-1"]["reason"] == "ZeroDivisionError: division by zero"
    assert cases["power=2.0-1"]["place"].startswith(__file__)
    assert cases["power=2.0-10"]["outcome"] == "passed"
    assert about["seconds"] > 0


def test_arguments_reach_the_component(capsys: Capture) -> None:
    assert cli.main(["check", "hierarchies", "small_tree", "--hierarchy.leaves", "300"]) == 2
    assert "the label values [256, 257" in capsys.readouterr().out


def test_a_tree_of_ones_own(capsys: Capture) -> None:
    words = ["check", "inference", "best_path", "--hierarchy", "small_tree", "--json"]
    assert cli.main([*words, "--hierarchy.leaves", "4"]) == 0
    about = json.loads(capsys.readouterr().out)
    trees = next(one for one in about["properties"] if one["name"] == "test_trees_of_every_shape")
    assert [case["name"] for case in trees["cases"]] == ["the main tree"]


def test_a_data_set_on_its_tree(capsys: Capture) -> None:
    words = ["check", "data", "mannequins", "--data.size", "[32, 32]"]
    assert cli.main([*words, "--hierarchy", "pascal_part"]) == 0
    assert cli.main([*words, "--hierarchy", "small_tree"]) == 2
    assert "which the hierarchy does not know" in capsys.readouterr().out
    assert cli.main(["check", "data", "pascal_part"]) == 3
    expected = "no such data folder; .*on a small class tree; --hierarchy NAME takes another"
    assert re.search(expected, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["loses", "tree_min"], "no kind of component is called 'loses', did you mean 'losses'?"),
        (["losses", "tre_min"], "loss: no loss is called 'tre_min', did you mean 'tree_min'?"),
        (
            ["losses", "tree_min", "--loss.gama", "2"],
            "loss.gama: loss 'tree_min' has no such key, did you mean 'gamma'?",
        ),
        (
            ["losses", "tree_min", "--loss.gamma", "high"],
            "loss.gamma: expected a float, got 'high'",
        ),
        (["losses", "sum"], "loss.losses: missing; loss 'sum' needs it"),
        (["losses", "tree_min", "--loss", "bce"], "loss: is 'tree_min' already"),
        (["losses", "tree_min", "--decoder.width", "2"], "decoder: is no part of this check"),
        (["schedules", "poly", "--hierarchy", "lip"], "hierarchy: no schedule has a class tree"),
        (["optimizers", "untyped"], "its argument 'lr' has no type: annotate it"),
    ],
)
def test_problems_are_one_sentence(capsys: Capture, words: list[str], sentence: str) -> None:
    assert cli.main(["check", *words]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert not captured.out
    assert captured.err.count("\n") == 1


def test_a_value_that_the_component_refuses(capsys: Capture) -> None:
    assert cli.main(["check", "optimizers", "sgd", "--optimizer.lr=-1"]) == 2
    out = capsys.readouterr().out
    assert out.count("optimizer: sgd: lr is -1.0, but must be positive") == 1
    assert "6 failed" in out


def test_the_users_pytest_has_no_say(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conftest.py").write_text("raise RuntimeError('loaded')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    assert cli.main(["check", "schedules", "cosine"]) == 0
    assert capsys.readouterr().err == ""
    assert {path.name for path in tmp_path.iterdir()} == {"conftest.py", "pytest.ini"}
