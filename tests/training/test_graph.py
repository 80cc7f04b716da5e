"""Steps captured in a CUDA graph train as those from Python do."""

from pathlib import Path

import pytest
import torch

from tests.support.runs import read_json, read_metrics, run_recipe

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
LONG = ("--training.epochs", "4", "--data.train_images", "32", "--training.device", "cuda")
CROPS = (
    "--input.resize",
    "shorter",
    "--augmentation.crop",
    "0",
    "--augmentation.scale",
    "[0.5, 2]",
)


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_metrics(folder)]


@pytest.mark.parametrize("loss", ["tree_min", "hssn", "weighted_ce"])
@pytest.mark.parametrize("more", [(), CROPS, ("--training.precision", "bf16-mixed")])
def test_captured_losses_are_those_from_python(
    tmp_path: Path, loss: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """32 steps, of which 29 are captured. Sums on a GPU have no fixed order, hence a tolerance."""
    words = (*LONG, *more, "--loss", loss)
    plain = losses(run_recipe(tmp_path / "plain", *words, "--training.capture", "off"))
    captured = losses(run_recipe(tmp_path / "captured", *words))
    # The first epoch has steps of both kinds; later ones drift apart by rounding.
    assert captured[0] == pytest.approx(plain[0], rel=2e-3)
    assert captured == pytest.approx(plain, rel=0.05)
    assert "cannot be captured" not in capsys.readouterr().err


@pytest.mark.parametrize("compiled", ["model", "step"])
def test_compiled_and_captured(tmp_path: Path, compiled: str) -> None:
    plain = losses(run_recipe(tmp_path / "plain", *LONG, "--training.capture", "off"))
    found = losses(run_recipe(tmp_path / "compiled", *LONG, "--training.compile", compiled))
    assert found == pytest.approx(plain, rel=0.05)


def test_a_step_does_not_wait_for_the_device(tmp_path: Path) -> None:
    """The schedule goes on while the graph is replayed: its learning rates are recorded."""
    folder = run_recipe(tmp_path, *LONG)
    rates = [record["learning_rate"] for record in read_metrics(folder)]
    assert rates == sorted(rates, reverse=True)
    assert read_json(folder / "result.json")["cost"]["device"] != "cpu"
