"""Compiled steps train as those from Python do; what cannot be compiled gives a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.recipe import load as load_recipe
from hieraseg.training.compiling import compile_errors, what_to_compile
from hieraseg.training.graph import keeps_state_on_host
from hieraseg.training.setup import set_up
from tests.support.processes import write_recipe
from tests.support.runs import QUICKSTART, read_metrics


@pytest.mark.parametrize("compiled", ["model", pytest.param("step", marks=pytest.mark.slow)])
def test_a_compiled_run_has_the_losses_and_scores_of_a_plain_one(
    tmp_path: Path, compiled: str
) -> None:
    """In a process of its own, since the shape checks of the tests cannot be compiled."""
    # Without transforms, which take most of the time of the compiler; test_capture.py has them.
    command = ["run", write_recipe(tmp_path), "--augmentation.transforms", "[]", "--out"]
    assert main([*command, str(tmp_path / "plain")]) == 0
    words = [*command, str(tmp_path / "compiled"), "--training.compile", compiled]
    done = subprocess.run(
        [sys.executable, "-m", "hieraseg", *words],
        env={**os.environ, "CUDA_HOME": str(tmp_path)},  # torch warns of one without a GPU
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "CUDA" not in done.stderr
    plain, found = (
        read_metrics(next((tmp_path / name).glob("*/*"))) for name in ("plain", "compiled")
    )
    assert len(found) == len(plain) == 2
    for one, other in zip(found, plain, strict=True):
        assert one["terms"] == pytest.approx(other["terms"], rel=1e-5)
        assert one["learning_rate"] == other["learning_rate"]
        for split in ("train", "val"):
            levels = zip(one[split]["levels"], other[split]["levels"], strict=True)
            for level, expected in levels:
                assert level["miou"] == pytest.approx(expected["miou"], abs=2e-3)


def test_a_step_that_cannot_be_compiled_whole_has_its_model_compiled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = load_recipe("quickstart", [("training.compile", "step")]).training
    assert what_to_compile(settings, []) == "step"
    assert "compiles the whole step, which can take minutes" in capsys.readouterr().err
    assert what_to_compile(settings, ["the loss mine is not capturable"]) == "model"
    assert "the loss mine is not capturable" in capsys.readouterr().err


def test_a_failure_of_the_compiler_is_one_sentence() -> None:
    def no_backend(*_: object) -> object:
        raise OSError("no compiler")

    said = r"^training\.compile: step: .*; set it to off"
    with pytest.raises(RecipeError, match=said), compile_errors("step"):
        torch.compile(lambda x: x + 1, backend=no_backend)(torch.ones(2))


@pytest.mark.parametrize(
    ("kind", "on_host"), [(torch.optim.Adagrad, True), (torch.optim.SGD, False)]
)
def test_optimizers_that_count_steps_on_the_host(kind: type, on_host: bool) -> None:
    """A captured step would not change what they keep there."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = kind([weight], lr=0.1)
    weight.sum().backward()
    optimizer.step()
    assert keeps_state_on_host(optimizer) == on_host


def test_sync_batch_norm_is_refused_on_a_cpu() -> None:
    overrides = [("training.sync_batch_norm", "true"), ("training.device", "cpu")]
    with pytest.raises(RecipeError, match=r"training\.sync_batch_norm: .* set it to false"):
        set_up(load_recipe(QUICKSTART, [*overrides, ("backbone.weights", "null")]), images=1)


def test_compiling_is_imported_only_when_it_is_asked_for() -> None:
    code = (
        "import sys; from hieraseg.training.compiling import compile_errors\n"
        "with compile_errors('off'): pass\n"
        "assert 'torch._inductor.compile_fx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
