"""The moving average of the weights: what is scored, saved and predicted."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.recipe import load
from hieraseg.training.averaging import WeightAverage
from hieraseg.training.order import run_step
from hieraseg.training.setup import set_up
from hieraseg.training.step import train_step
from tests.support.runs import QUICKSTART, SMALL, read_json, read_metrics, run_recipe

CPU = torch.device("cpu")


class Small(nn.Module):
    """A weight that two modules share, statistics, a mask and a module that nothing trains."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(1, affine=False)
        self.register_buffer("mask", torch.tensor([-torch.inf]), persistent=False)
        nn.init.constant_(self.first.weight, 1.0)


def test_an_average_by_hand() -> None:
    """The first decays are 1/10, 2/11 and 3/12 unless the own one is lower."""
    model: Any = Small()
    average = WeightAverage(model, 0.2, CPU)
    assert [1 - average.rate(step) for step in (0, 1, 2, 3)] == pytest.approx(
        [0.1, 2 / 11, *[0.2] * 2]
    )
    expected = 1.0
    for step, value in enumerate((2.0, 4.0, 0.0)):
        nn.init.constant_(model.first.weight, value)
        model.norm.running_mean.fill_(10 * value)
        model.norm.num_batches_tracked += 1
        average.update(torch.tensor(average.rate(step)))
        decay = min(0.2, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    averaged: Any = average.model
    assert averaged.first.weight.item() == pytest.approx(expected)
    assert averaged.second.weight is averaged.first.weight
    assert averaged.norm.num_batches_tracked == 3
    assert averaged.mask.item() == -torch.inf
    assert not averaged.training
    assert model.training
    assert not any(one.requires_grad for one in averaged.parameters())


def test_statistics_are_averaged_as_weights_are() -> None:
    model: Any = nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.99, CPU)
    model.running_mean.fill_(5.0)
    average.update(torch.tensor(0.25))
    assert average.model.state_dict()["running_mean"].item() == 1.25


def test_a_model_that_cannot_be_copied() -> None:
    model: Any = nn.Linear(1, 1)
    model.file = open(__file__)  # noqa: SIM115
    with pytest.raises(RecipeError, match=r"training.ema: the model cannot be copied \("):
        WeightAverage(model, 0.9, CPU)
    model.file.close()


def test_training_averages_the_weights_after_each_step() -> None:
    """As a loop in float64 does; the weights themselves train as without an average."""
    names = [option.removeprefix("--") for option in SMALL[::2]]
    small = [*zip(names, SMALL[1::2], strict=True), ("training.device", "cpu")]
    trained: dict[str, list[dict[str, Tensor]]] = {}
    for ema in ("null", "0.15"):
        parts, state = set_up(load(QUICKSTART, [*small, ("training.ema", ema)]))
        parts.forward.train()
        trained[ema] = [_copy(state.model)]
        for batch in parts.view.load([run_step(parts, 1, k, torch.arange(4)) for k in (1, 2, 3)]):
            train_step(parts, state, batch)
            trained[ema].append(_copy(state.model))
    assert parts.segmenter.model is state.scored_model is not state.model
    for plain, own in zip(*trained.values(), strict=True):
        assert all(torch.equal(plain[name], own[name]) for name in plain)
    for name, value in state.scored_model.state_dict().items():
        first, *others = (one[name] for one in trained["0.15"])
        expected = first.double()
        for decay, other in zip((0.1, 0.15, 0.15), others, strict=True):
            expected = decay * expected + (1 - decay) * other.double()
        wanted = expected if value.is_floating_point() else others[-1].double()
        torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def averaged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = ("--training.epochs", "2", "--training.ema", "0.9", "--training.clip_norm", "0.5")
    return run_recipe(tmp_path_factory.mktemp("averaged"), *options)


def test_the_average_is_scored_saved_and_started_from(
    averaged_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = averaged_run / "checkpoints/last"
    weights = load_file(last / "model.safetensors")
    own = torch.load(last / "state.pt", weights_only=True)["trained_model"]
    assert own.keys() == weights.keys()
    assert any((own[name] - weights[name]).abs().max() > 1e-4 for name in own)

    before = read_json(averaged_run / "result.json")["splits"]["val"]
    assert main(["evaluate", str(averaged_run), "--split", "val"]) == 0
    assert read_json(averaged_run / "result.json")["splits"]["val"]["levels"] == before["levels"]
    records = read_metrics(averaged_run)
    assert all(one["gradient_norm"]["max"] > 0.5 for one in records)
    best = max(one["val"]["levels"][-1]["miou"] for one in records)
    assert best == before["levels"][-1]["miou"]

    names = [option.removeprefix("--") for option in SMALL[::2]]
    changes = {"training.device": "cpu", "init.from": str(averaged_run)}
    recipe = load(QUICKSTART, [*zip(names, SMALL[1::2], strict=True), *changes.items()])
    _, state = set_up(recipe)
    expected = load_file(averaged_run / "checkpoints/best/model.safetensors")
    assert_equal(state.model.state_dict(), expected)


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
