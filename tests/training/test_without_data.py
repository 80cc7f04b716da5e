"""What `validate`, and a run before it reads its data, say of settings that cannot be meant."""

from pathlib import Path

import pytest

from hieraseg.cli import main
from tests.support.runs import QUICKSTART

PLAIN_LOSSES = '''
from hieraseg import Loss, registry


class Mean(Loss):
    pixelwise = True


class Regions(Loss):
    pixelwise = False


@registry.losses.register("by_function")
def by_function(hierarchy, regions: bool = True) -> Loss:
    """Either of two losses.

    Args:
        hierarchy: the class tree.
        regions: which one.
    """
    return Regions() if regions else Mean()


@registry.losses.register("broken")
class Broken(Loss):
    """One that cannot be built."""

    def __init__(self) -> None:
        raise KeyError("a bug")
'''
Captured = pytest.CaptureFixture[str]


def said_of(recipe: Path, sections: str, capsys: Captured, *options: str) -> str:
    """What `hieraseg validate` prints of sections on top of the quickstart recipe."""
    recipe.write_text(f"base: {QUICKSTART}\n{sections}\n")
    code = main(["validate", str(recipe), *options])
    printed = capsys.readouterr().out
    assert (code == 0) == printed.endswith(": ok\n")
    return printed.replace(f"{recipe}:", "").strip()


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            "training: {epochs: 2}\nschedule: {name: cosine, warmup: 100 epochs}",
            "3: schedule.warmup: 100 epochs is longer than the training, whose training.epochs is "
            "2; lower it, or train for longer",
        ),
        (
            "training: {max_steps: 60}\nschedule: {name: multistep, milestones: [0.5, 61 steps]}",
            "3: schedule.milestones: 61 steps is longer than the training, whose "
            "training.max_steps is 60; lower it, or train for longer",
        ),
        (
            "schedule: {name: multistep, milestones: [3 epochs, 0.2, 3 epochs]}",
            "2: schedule.milestones: must be distinct, got ['3 epochs', 0.2, '3 epochs']",
        ),
        (
            "loss: {name: sum, losses: [tree_min, weighted_ce], weights: [1]}",
            "2: loss.weights: sum: must have 2 values, one per loss, got 1",
        ),
        (
            "schedule: {name: cosine, warmup: '0.1'}",
            "2: schedule.warmup: must be a duration such as 500 steps or 2 epochs, got '0.1', "
            "which is a string: remove the quotes",
        ),
        (
            "training: {epochs: 2}\nauxiliary: {weight: 0.4,\n  channels: 64}",
            "4: auxiliary.channels: has no effect without auxiliary.stage; set it, or remove "
            "auxiliary.channels",
        ),
        (
            "evaluation: {window_overlap: 0.3}",
            "2: evaluation.window_overlap: has no effect without evaluation.window; set it, or "
            "remove evaluation.window_overlap",
        ),
        (
            "loss: {name: weighted_ce, level_weights: [1, 2]}",
            "2: loss.level_weights: weighted_ce: must have 3 values, one per level of the "
            "hierarchy, got 2",
        ),
    ],
)
def test_what_cannot_be_meant(
    tmp_path: Path, capsys: Captured, sections: str, expected: str
) -> None:
    assert said_of(tmp_path / "r.yaml", sections, capsys) == expected


@pytest.mark.parametrize(
    "sections",
    [
        "schedule: {name: cosine, warmup: 100 steps}\ntraining: {epochs: 1}",
        "schedule: {name: cosine_restarts, period: 5 epochs}\ntraining: {epochs: 5, max_steps: 3}",
        "validation: {every: 900 steps, patience: 99}\ntraining: {epochs: 1, ema: 0.9999}",
        "evaluation: {window: null, window_overlap: 0.3}\nauxiliary: {weight: 0.1}",
        "checkpoints: {every: 500 epochs}\ntraining: {epochs: 1, max_steps: 100000}",
    ],
)
def test_what_can_be_meant(tmp_path: Path, capsys: Captured, sections: str) -> None:
    assert said_of(tmp_path / "r.yaml", sections, capsys) == "ok"


def test_losses_of_functions_are_judged_by_what_they_return(
    tmp_path: Path, capsys: Captured
) -> None:
    plugin, recipe = tmp_path / "plain.py", tmp_path / "r.yaml"
    plugin.write_text(PLAIN_LOSSES)
    option = ("--plugin", str(plugin))
    printed = said_of(recipe, "loss: {name: ohem, loss: by_function}", capsys, *option)
    assert printed == "2: loss.loss: ohem: must be pixelwise, got Regions"
    fits = "loss: {name: ohem, loss: {name: by_function, regions: false}}"
    assert said_of(recipe, fits, capsys, *option) == "ok"
    # A bug in a component has a place, which only a run says.
    assert said_of(recipe, "loss: broken", capsys, *option) == "ok"
