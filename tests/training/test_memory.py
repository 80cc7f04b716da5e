"""What to lower if the memory is full."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.recipe import load
from hieraseg.training.dry_run import dry_run
from hieraseg.training.memory import explaining_memory
from tests.support.processes import write_recipe
from tests.support.runs import QUICKSTART

Captured = pytest.CaptureFixture[str]
GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
MAIN = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
)


def sentence(overrides: dict[str, Any], error: Exception = GPU, scores: bool = False) -> str:
    recipe = load(QUICKSTART, [(key, str(value)) for key, value in overrides.items()])
    with pytest.raises(RecipeError) as caught, explaining_memory(recipe, scores):
        raise error
    return str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "error", "what", "changes"),
    [
        (
            {"training.batch_size": 12, "input.size": [512, 384]},
            GPU,
            "12 images of 512x384 at once need more GPU memory than there is",
            "set training.accumulate to 2, which trains nearly the same, or set training.precision "
            "to bf16-mixed, or decrease training.batch_size to 6 or input.size to [352, 256]",
        ),
        (
            {"training.batch_size": 18, "training.accumulate": 2, "input.size": [224, 224]},
            MAIN,
            "9 images of 224x224 at once need more main memory",
            "set training.accumulate to 3, which trains nearly the same, or decrease "
            "training.batch_size to 9 or input.size to [160, 160]",
        ),
        (
            {"training.batch_size": 1, "training.precision": "bf16-mixed", "input.size": [24, 32]},
            MemoryError(),
            "1 images of 24x32 at once need more main memory",
            "decrease input.size to [12, 16]",
        ),
        (
            {"training.batch_size": 4, "training.devices": 2, "training.accumulate": 2},
            GPU,
            "1 images of",
            "or decrease training.batch_size to 2 or input.size",
        ),
    ],
)
def test_what_a_step_can_do_without(
    overrides: dict[str, Any], error: Exception, what: str, changes: str
) -> None:
    said = sentence(overrides, error)
    assert said.startswith(f"training: {what}")
    assert changes in said
    measures = "with fewer images says about how many fit"
    if error is not GPU:
        measures = "measures how much a step needs"
    assert said.endswith(f"; `hieraseg bench` {measures}")
    assert ("accumulate" in said) == ("accumulate" in changes)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"batch_size": 16}, "scoring 16 images at once needs more GPU memory than there is; "),
        ({"batch_size": 16}, "; decrease evaluation.batch_size to 8, or set evaluation.resolution"),
        ({"batch_size": 1}, "scoring an image at once needs more GPU memory"),
        ({"batch_size": 1}, "; set evaluation.window to [96, 96]"),
        ({"window": [512, 512], "scales": [1, 1.5]}, "; decrease evaluation.window to [352, 352]"),
        ({"scales": [1, 1.5]}, ", or leave out scales above 1 in evaluation.scales"),
    ],
)
def test_what_scoring_can_do_without(overrides: dict[str, Any], expected: str) -> None:
    given = {f"evaluation.{key}": value for key, value in overrides.items()}
    said = sentence({"input.size": [96, 96], **given}, scores=True)
    assert said.startswith("evaluation: ")
    assert expected in said


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="a fault"), explaining_memory(load(QUICKSTART, [])):
        raise RuntimeError("a fault")


def full(*_: object, **__: object) -> None:
    raise GPU


@pytest.mark.parametrize(
    ("place", "start"),
    [
        ("hieraseg.training.step.compute_step", "training: 4 images of 16x16 at once need more"),
        ("hieraseg.train.score_split", "evaluation: scoring 16 images at once needs more GPU"),
    ],
)
def test_a_run_says_so(
    place: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(place, full)
    command = ["run", write_recipe(tmp_path), "--training.max_steps", "1"]
    assert main([*command, "--out", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"hieraseg: error: {start}")


def test_a_dry_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hieraseg.training.dry_run.train_step", full)
    with pytest.raises(RecipeError, match="training: 4 images of 16x16 at once need more GPU"):
        dry_run(load(write_recipe(tmp_path), []))
