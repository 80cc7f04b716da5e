"""Schedules against those of torch, and against values worked by hand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingWarmRestarts,
    LRScheduler,
    MultiStepLR,
    StepLR,
)

from hieraseg import registry

STEPS = 40
EPOCH = 5
SHIPPED = ("constant", "cosine", "cosine_restarts", "multistep", "poly", "step")
NEEDED: dict[str, dict[str, Any]] = {
    "cosine_restarts": {"period": 0.5},
    "multistep": {"milestones": [0.6]},
    "step": {"every": 0.6},
}
"""Arguments without a default."""


def rates_by(make: Callable[[Optimizer], LRScheduler], steps: int = STEPS) -> list[float]:
    """Learning rates before each step, and after the last one."""
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=2.0)
    schedule, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*rates, optimizer.param_groups[0]["lr"]]


def rates(name: str, **arguments: Any) -> list[float]:
    supplied = {"total_steps": STEPS, "steps_per_epoch": EPOCH}
    make = registry.schedules.get(name)
    return rates_by(lambda optimizer: make(optimizer=optimizer, **supplied, **arguments))


@given(st.integers(1, STEPS - 1), st.floats(0.1, 1))
def test_step_is_that_of_torch(every: int, gamma: float) -> None:
    expected = rates_by(lambda optimizer: StepLR(optimizer, every, gamma))
    assert rates("step", every=f"{every} steps", gamma=gamma) == pytest.approx(expected)


@given(st.lists(st.integers(1, STEPS - 1), min_size=1, max_size=4, unique=True), st.floats(0.1, 1))
def test_multistep_is_that_of_torch(milestones: list[int], gamma: float) -> None:
    expected = rates_by(lambda optimizer: MultiStepLR(optimizer, milestones, gamma))
    given_as = [f"{step} steps" for step in milestones]
    assert rates("multistep", milestones=given_as, gamma=gamma) == pytest.approx(expected)


@given(st.integers(1, STEPS), st.integers(1, 3))
def test_cosine_restarts_is_that_of_torch(period: int, growth: int) -> None:
    expected = rates_by(lambda optimizer: CosineAnnealingWarmRestarts(optimizer, period, growth))
    assert rates("cosine_restarts", period=f"{period} steps", growth=growth) == expected


def test_restarts_by_hand() -> None:
    """Periods of 1, 2 and 4 epochs fill the first 35 steps; the next one lasts 8."""
    found = rates("cosine_restarts", period="1 epoch", growth=2)
    starts = {0: 5, 5: 10, 15: 20, 35: 40}
    expected = [
        1 + math.cos(math.pi * (step - start) / length)
        for start, length in starts.items()
        for step in range(start, min(start + length, STEPS + 1))
    ]
    assert found == pytest.approx(expected)
    assert [found[step] for step in starts] == [2.0] * 4
    assert found[34] == pytest.approx(2 * 0.0061558, rel=1e-4)  # (1 + cos(19/20 pi)) / 2


def test_drops_by_hand() -> None:
    found = rates("multistep", milestones=["2 epochs", 0.5, "30 steps"], gamma=0.5)
    assert found == [2.0] * 10 + [1.0] * 10 + [0.5] * 10 + [0.25] * 11
    assert rates("step", every="3 epochs", gamma=0.5) == [2.0] * 15 + [1.0] * 15 + [0.5] * 11
    assert rates("constant") == [2.0] * (STEPS + 1)


@pytest.mark.parametrize("name", SHIPPED)
def test_shares_steps_and_epochs_mean_the_same(name: str) -> None:
    ways: list[Any] = [0.25, "10 steps", "2 epochs"]
    found = [rates(name, **NEEDED.get(name, {}), warmup=warmup) for warmup in ways]
    assert found[0] == found[1] == found[2]
    # From 1 % of the rate to all of it, after as many steps.
    assert found[0][0] == pytest.approx(0.02)
    assert found[0][5] == pytest.approx(2 * (0.01 + 0.99 / 2))
    assert found[0][10] == pytest.approx(2.0)


def test_moments_of_drops_are_counted_from_the_beginning() -> None:
    """As without a warm-up."""
    for name in ("step", "multistep"):
        plain, warmed = (rates(name, **NEEDED[name], warmup=warmup) for warmup in (0, "1 epoch"))
        assert warmed[EPOCH:] == pytest.approx(plain[EPOCH:])
        assert plain[23:25] == pytest.approx([2.0, 0.2])
    # At the end of the warm-up.
    assert rates("multistep", milestones=["1 epoch"], warmup="1 epoch")[5] == pytest.approx(0.2)


def test_cosines_begin_after_the_warmup() -> None:
    found = rates("cosine_restarts", period="1 epoch", warmup="3 steps")
    assert found[3:] == pytest.approx(rates("cosine_restarts", period="1 epoch")[:-3])
    assert rates("cosine", warmup="3 steps")[-1] == pytest.approx(0)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("warmup", ["40 steps", "8 epochs", "9 epochs"])
def test_a_warmup_that_never_ends(name: str, warmup: str) -> None:
    message = f"^warmup must be less than the 40 steps of training, got '{warmup}'; lower it, or wr"
    with pytest.raises(ValueError, match=message):
        rates(name, **NEEDED.get(name, {}), warmup=warmup)


def test_shares_of_a_short_training_can_be_the_same_step() -> None:
    make = registry.schedules.get("multistep")
    milestones = {"milestones": [0.6, 0.8, 0.9], "warmup": 0.05, "gamma": 0.5}
    found = rates_by(lambda optimizer: make(optimizer, total_steps=2, **milestones), steps=2)
    assert found == [2.0, 1.0, 0.25]  # steps 1.2, 1.6 and 1.8 are the steps 1, 2 and 2


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("step", {"every": 0.1, "warmup": 0.5}, "every must not be shorter than the warm-up of 20"),
        (
            "step",
            {"every": 30},
            r"every must be in \(0, 1\) or a duration such as .*s, got 30",
        ),
        ("step", {"every": "3 hours"}, "every must be a duration such as 500 steps or 2 epochs"),
        ("step", {"every": 0.1, "gamma": 1.5}, r"gamma must be in \(0, 1\], got 1.5"),
        (
            "multistep",
            {"milestones": [0.9, "10 steps"], "warmup": "3 epochs"},
            "milestones must not be within the warm-up of 15 steps, got '10 steps'",
        ),
        ("multistep", {"milestones": []}, "milestones must be non-empty"),
        (
            "multistep",
            {"milestones": [0.3, 2]},
            r"milestones must be in \(0, 1\) .*2 at \[1\]",
        ),
        ("multistep", {"milestones": [0.3, 0.3]}, r"milestones must be distinct, got \[0.3, 0.3\]"),
        (
            "multistep",
            {"milestones": ["1 epoch", "5 steps"]},
            r"milestones must be at different steps, got \['1 epoch', '5 steps'\]; keep one of",
        ),
        (
            "multistep",
            {"milestones": [0.3, "8 epochs"]},
            "milestones must be less than the 40 steps of training, got '8 epochs'; lower it",
        ),
        ("step", {"every": "40 steps"}, "every must be less than the 40 steps of training, got"),
        ("cosine_restarts", {"period": "9 epochs"}, "period must be at most the 40 steps of train"),
        ("cosine_restarts", {"period": "0 epochs"}, "period must be a duration such as 500 steps"),
        ("cosine_restarts", {"period": 0.1, "growth": 0}, "growth must be positive, got 0"),
        ("constant", {"warmup": 1}, r"warmup must be in \[0, 1\) or a duration such as .*, got 1"),
    ],
)
def test_invalid_arguments(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        rates(name, **arguments)


def test_epochs_need_their_number_of_steps() -> None:
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=2.0)
    with pytest.raises(ValueError, match="'1 epoch' needs `steps_per_epoch`"):
        registry.schedules.get("constant")(optimizer, 10, warmup="1 epoch")
