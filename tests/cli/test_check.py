"""`hieraseg check`: the report, the exit codes, and arguments that cannot be used."""

import json
from pathlib import Path
from typing import Any

import catalogue
import pytest
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from hieraseg import Hierarchy, Prediction, cli, registry

Captured = pytest.CaptureFixture[str]


def stuck(optimizer: Optimizer, total_steps: int, power: float = 1.0) -> LRScheduler:
    """Divides by zero if training has one step.

    Args:
        power: exponent of the decay.
    """
    return LambdaLR(optimizer, lambda step: _remaining(step, total_steps) ** power)


def _remaining(step: int, total_steps: int) -> float:
    return 1 - min(step / (total_steps - 1), 1)


def small_tree(leaves: int = 2) -> Hierarchy:
    """A tree with one level.

    Args:
        leaves: number of leaves.
    """
    return Hierarchy.from_tree([f"leaf{index}" for index in range(leaves)])


def untyped(parameters: Any, lr=0.1) -> Optimizer:  # type: ignore[no-untyped-def]
    """An optimizer with an argument without a type."""
    return SGD([one for own in parameters.values() for one in own], lr=lr)


def picky(parameters: Any, lr: float = 0.5) -> Optimizer:
    """An optimizer that refuses values which its type allows.

    Args:
        lr: learning rate, a multiple of 0.5.
    """
    if lr % 0.5:
        raise ValueError(f"lr must be a multiple of 0.5, got {lr}")
    return SGD([one for own in parameters.values() for one in own], lr=lr)


class SevenChannels(nn.Module):
    """Fits feature maps of this backbone only.

    Args:
        channels: from the runner.
        num_classes: from the runner.
    """

    def __init__(self, channels: list[int], num_classes: list[int]) -> None:
        super().__init__()
        if channels != [7]:
            raise ValueError(f"needs 7 channels, got {channels}")
        self.classifiers = nn.ModuleList(nn.Conv2d(7, one, 1) for one in num_classes)

    def forward(self, pyramid: list[Tensor]) -> Prediction:
        return Prediction(tuple(one(pyramid[0]) for one in self.classifiers))


class SevenMaps(nn.Module):
    """A backbone with one feature map.

    Args:
        width: its channels.
    """

    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self, width: int = 7) -> None:
        super().__init__()
        self.channels, self.strides = [width], [2]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "REGISTRY", dict(catalogue.REGISTRY))
    registry.schedules.register("stuck")(stuck)
    registry.hierarchies.register("small_tree")(small_tree)
    registry.optimizers.register("untyped")(untyped)
    registry.optimizers.register("picky")(picky)
    registry.decoders.register("seven")(SevenChannels)
    registry.backbones.register("maps")(SevenMaps)


def test_all_properties_pass(capsys: Captured) -> None:
    assert cli.main(["check", "schedules", "cosine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "schedule cosine, from hieraseg (hieraseg_plugins.schedules.cosine:cosine)"
    assert "ok       The same number of steps gives the same learning rates." in lines
    assert lines[-1].startswith("8 of 8 properties passed, in ")


def test_decoder_on_a_backbone(capsys: Captured) -> None:
    """It is checked on the channels and strides of this backbone, with its arguments."""
    command = ["check", "decoder", "seven", "--json"]
    assert cli.main([*command, "--backbone", "maps"]) == 0
    properties = json.loads(capsys.readouterr().out)["properties"]
    (logits,) = (one for one in properties if one["name"] == "test_logits_match_num_classes")
    assert [case["name"] for case in logits["cases"]] == ["defaults-this backbone"]
    assert cli.main([*command, "--backbone", "maps", "--backbone.width", "8"]) == 2
    assert "needs 7 channels, got [8]" in capsys.readouterr().out
    assert cli.main(command[:-1]) == 2
    assert "it refuses every feature pyramid" in capsys.readouterr().out
    assert cli.main([*command, "--backbone", "mops"]) == 2
    assert "backbone: unknown backbone 'mops', did you mean 'maps'?" in capsys.readouterr().err
    assert cli.main(["check", "loss", "tree_min", "--backbone", "maps"]) == 2
    assert "backbone: not part of this check" in capsys.readouterr().err


def test_failure_has_reason_and_place(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    assert cli.main(["check", "schedule", "stuck"]) == 2
    captured = capsys.readouterr()
    sentence = "For any number of steps, learning rates are finite, non-negative and not all 0."
    line = _remaining.__code__.co_firstlineno + 1
    assert captured.out.count(sentence) == 2
    assert f"FAILED   {sentence}\n" in captured.out
    report = captured.out.partition("FAILED: ")[2]
    assert "    ZeroDivisionError: division by zero\n" in report
    assert f"    at test_check.py:{line}\n" in report
    assert "    with defaults-1\n" in report
    assert "6 of 8 properties passed, 1 failed, 1 skipped, in " in report
    assert "Traceback" not in captured.out + captured.err


def test_json_report(capsys: Captured) -> None:
    assert cli.main(["check", "schedules", "stuck", "--json", "--schedule.power=2"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert (report["section"], report["name"], report["ok"]) == ("schedule", "stuck", False)
    found = {one["name"]: one for one in report["properties"]}
    rates = found["test_learning_rates_are_non_negative"]
    assert rates["outcome"] == "failed"
    cases = {case["name"]: case for case in rates["cases"]}
    assert cases["power=2.0-1"]["reason"] == "ZeroDivisionError: division by zero"
    assert cases["power=2.0-1"]["place"].startswith(__file__)
    assert cases["power=2.0-10"]["outcome"] == "passed"
    assert report["seconds"] > 0


def test_arguments_reach_the_component(capsys: Captured) -> None:
    assert cli.main(["check", "hierarchies", "small_tree", "--hierarchy.leaves", "0"]) == 2
    assert "the tree is empty" in capsys.readouterr().out


def test_check_on_a_given_hierarchy(capsys: Captured) -> None:
    arguments = ["check", "inference", "best_path", "--hierarchy", "small_tree", "--json"]
    assert cli.main([*arguments, "--hierarchy.leaves", "4"]) == 0
    report = json.loads(capsys.readouterr().out)
    trees = next(one for one in report["properties"] if one["name"] == "test_trees_of_every_shape")
    assert [case["name"] for case in trees["cases"]] == ["the main tree"]


def test_data_set_and_its_hierarchy(capsys: Captured) -> None:
    arguments = ["check", "data", "mannequins", "--data.image_size", "[32, 32]"]
    assert cli.main([*arguments, "--hierarchy", "pascal_part"]) == 0
    assert cli.main([*arguments, "--hierarchy", "small_tree"]) == 2
    assert "which the hierarchy does not know" in capsys.readouterr().out
    assert cli.main(["check", "data", "pascal_part"]) == 3
    assert "data.root: " in (err := capsys.readouterr().err)
    assert "no such data folder" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["loses", "tree_min"], "unknown kind of component 'loses', did you mean 'losses'?"),
        (["losses", "tre_min"], "loss: unknown loss 'tre_min', did you mean 'tree_min'?"),
        (
            ["losses", "tree_min", "--loss.gama", "2"],
            "loss.gama: loss 'tree_min' has no such key, did you mean 'gamma'?",
        ),
        (
            ["losses", "tree_min", "--loss.gamma", "high"],
            "loss.gamma: expected a non-negative float, got 'high'",
        ),
        (["losses", "sum"], "loss.losses: missing; loss 'sum' needs it"),
        (["losses", "ohem"], "a `sum`; add `--loss.loss VALUE` to the command"),
        (["losses", "tree_min", "--loss", "bce"], "loss: conflicts with 'tree_min'"),
        (["losses", "tree_min", "--decoder.width", "2"], "decoder: not part of this check"),
        (["schedules", "poly", "--hierarchy", "lip"], "hierarchy: schedules take no hierarchy"),
        (["optimizers", "untyped"], "its argument 'lr' has no type: annotate it"),
    ],
)
def test_problems_are_one_sentence(capsys: Captured, arguments: list[str], expected: str) -> None:
    assert cli.main(["check", *arguments]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert not captured.out
    assert captured.err.count("\n") == 1


def test_value_out_of_range(capsys: Captured) -> None:
    """A range that is part of the type is checked before anything is built."""
    assert cli.main(["check", "optimizers", "sgd", "--optimizer.lr=-1"]) == 2
    assert capsys.readouterr().err == "hieraseg: error: optimizer.lr: must be positive, got -1\n"


def test_value_that_the_component_refuses(capsys: Captured) -> None:
    """Every property that needs the component fails, for one reason that is printed once."""
    assert cli.main(["check", "optimizers", "picky", "--optimizer.lr=0.75"]) == 2
    out = capsys.readouterr().out
    assert out.count("optimizer: picky: lr must be a multiple of 0.5, got 0.75") == 1
    assert "7 failed" in out


def test_pytest_configuration_of_the_user_is_ignored(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conftest.py").write_text("raise RuntimeError('loaded')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    assert cli.main(["check", "schedules", "cosine"]) == 0
    assert capsys.readouterr().err == ""
    assert {path.name for path in tmp_path.iterdir()} == {"conftest.py", "pytest.ini"}
