"""The state of a run: saved and restored, training goes on as if nothing had happened."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hieraseg.metrics import PixelCounts
from hieraseg.recipe import load as load_recipe
from hieraseg.runs.checkpoint import read_state, save_checkpoint
from hieraseg.training.order import run_step
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from hieraseg.training.step import train_step

OVERRIDES = [
    ("data.image_size", "[32, 32]"),
    ("input.size", "[32, 32]"),
    ("data.train_images", "4"),
    ("data.val_images", "2"),
    ("backbone.weights", "null"),
    ("decoder.width", "8"),
    ("training.batch_size", "2"),
    ("training.device", "cpu"),
]


def build() -> tuple[Parts, State]:
    """The parts and the state of a small run, before its first step."""
    parts, state = set_up(load_recipe("quickstart", OVERRIDES))
    parts.forward.train()
    return parts, state


def steps(parts: Parts, state: State, number: int) -> list[float]:
    """Take some steps on the same two batches in turn; the loss of each."""
    rows = [torch.tensor([0, 1]), torch.tensor([2, 3])]
    losses = []
    for _ in range(number):
        step = run_step(parts, 1, state.step + 1, rows[state.step % 2])
        (batch,) = parts.view.load([step])
        terms = train_step(parts, state, batch)
        losses.append(sum(terms.values()).item())
    return losses


def equal(one: Any, other: Any) -> bool:
    """Whether nested containers of tensors and numbers are equal, bit by bit, but for durations."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        keys = one.keys() - {"seconds"}
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in keys)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def test_a_restored_state_trains_on_exactly(tmp_path: Path) -> None:
    parts, state = build()
    steps(parts, state, 3)
    assert state.end_interval(0.25)
    saved = state.state_dict()
    weights = saved.pop("model")
    save_checkpoint(tmp_path / "last", weights, {"epoch": 1}, saved)
    expected = steps(parts, state, 3)

    other_parts, other = build()
    steps(other_parts, other, 1)  # it has gone another way meanwhile
    other.load_state_dict(read_state(tmp_path / "last"))
    assert (other.epoch, other.step, other.scored, other.validations) == (2, 3, 3, 1)
    assert (other.best_step, other.best_score) == (3, 0.25)
    assert steps(other_parts, other, 3) == expected
    assert equal(other.state_dict(), state.state_dict())


def test_everything_that_changes_is_in_the_state() -> None:
    """A step changes what is in the state, and nothing that a `Parts` holds."""
    parts, state = build()
    before = {key: value.clone() for key, value in state.state_dict()["model"].items()}
    state_before = state.state_dict()["progress"]
    loss_before = {key: value.clone() for key, value in parts.loss.state_dict().items()}
    steps(parts, state, 1)
    after = state.state_dict()
    assert not equal(before, after["model"])
    assert after["progress"] == {**state_before, "step": 1}
    assert after["totals"]["steps"] == 1
    assert after["totals"]["counts"]["pixels"].sum() == 2 * 32 * 32
    assert equal(loss_before, dict(parts.loss.state_dict()))


def test_totals_are_of_the_interval_alone() -> None:
    parts, state = build()
    losses = steps(parts, state, 2)
    _, means = state.totals.terms_mean()
    assert means.sum().item() == pytest.approx(sum(losses) / 2)
    state.totals.reset()
    assert state.totals.steps == 0
    assert isinstance(state.totals.counts, PixelCounts)
    assert state.totals.counts.counts["pixels"].sum() == 0


def test_a_score_must_be_better_to_be_the_best() -> None:
    _, state = build()
    state.step = 2
    assert state.end_interval(0.0)
    state.step = 4
    assert not state.end_interval(0.0)
    assert not state.end_interval(None)
    assert state.since_best == 2
    state.step = 6
    assert state.end_interval(0.1)
    assert (state.best_step, state.best_score, state.since_best) == (6, 0.1, 0)


def test_as_long_as_no_score_is_defined_the_last_one_is_the_best() -> None:
    _, state = build()
    for step, score in ((1, None), (2, None), (3, -5.0)):
        state.step = step
        assert state.end_interval(score)
    assert (state.best_step, state.validations, state.since_best) == (3, 3, 0)
