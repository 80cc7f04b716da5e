"""The contract of schedules."""

import math
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hieraseg.errors import RecipeError
from hieraseg.testing.component import DEFAULTS, Arguments, ComponentContract
from hieraseg.testing.optimizers import reload

TOTAL_STEPS = (1, 2, 3, 10, 1000)
STEPS_PER_EPOCH = 4
_STEPS = 10
"""As many steps have to be enough for the arguments that are checked."""


class ScheduleContract(ComponentContract):
    """The contract of schedules (see `contracts.ScheduleFactory`)."""

    def supplied(self) -> dict[str, Any]:
        return {"optimizer": sgd(), "total_steps": _STEPS, "steps_per_epoch": STEPS_PER_EPOCH}

    def make(
        self, optimizer: Optimizer, total_steps: int, arguments: Arguments = DEFAULTS
    ) -> LRScheduler:
        """Build the schedule of an optimizer."""
        supplied = {**self.supplied(), "optimizer": optimizer, "total_steps": total_steps}
        return cast(LRScheduler, self.build(arguments, **supplied))

    @pytest.mark.parametrize("total_steps", TOTAL_STEPS)
    def test_learning_rates_are_non_negative(self, arguments: Arguments, total_steps: int) -> None:
        """For any number of steps, learning rates are finite, non-negative and not all 0."""
        optimizer = sgd()
        try:
            schedule = self.make(optimizer, total_steps, arguments)
        except RecipeError as error:
            if total_steps >= _STEPS:
                raise
            pytest.skip(f"{total_steps} steps are too few: {error}")
        steps = learning_rates(optimizer, schedule, total_steps)
        wrong = [step for step, rates in enumerate(steps) if not all(map(_is_valid, rates))]
        assert not wrong, (
            f"for {total_steps} steps, learning rates before step {wrong[0]} (counted from 0) "
            f"must be finite and non-negative, got {steps[wrong[0]]}"
        )
        assert any(rate > 0 for rates in steps[:total_steps] for rate in rates), (
            f"for {total_steps} steps, all learning rates are 0, so nothing is trained"
        )

    def test_changes_only_learning_rates(self, arguments: Arguments) -> None:
        """It changes neither the groups of the optimizer nor their parameters."""
        optimizer = sgd()
        before = [list(group["params"]) for group in optimizer.param_groups]
        values = [one.detach().clone() for group in before for one in group]
        learning_rates(optimizer, self.make(optimizer, 10, arguments), 10)
        after = [list(group["params"]) for group in optimizer.param_groups]
        assert [list(map(id, one)) for one in before] == [list(map(id, one)) for one in after], (
            "it changes the parameters in the optimizer's groups"
        )
        same = zip(values, (one for group in after for one in group), strict=True)
        assert all(torch.equal(one, other) for one, other in same), (
            "it changes the values of parameters"
        )

    def test_is_repeatable(self, arguments: Arguments) -> None:
        """The same number of steps gives the same learning rates."""
        first, again = (
            learning_rates(optimizer, self.make(optimizer, 10, arguments), 10)
            for optimizer in (sgd(), sgd())
        )
        assert first == again, f"the second time, learning rates are {again} instead of {first}"

    @pytest.mark.parametrize("stop", [0, 1, 4, 9])
    def test_resumes_exactly(self, arguments: Arguments, stop: int) -> None:
        """After its state is saved and loaded, at any step, it gives the same learning rates."""
        optimizer = sgd()
        schedule = self.make(optimizer, 10, arguments)
        learning_rates(optimizer, schedule, stop)
        saved = reload({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()})
        expected = learning_rates(optimizer, schedule, 10 - stop)
        other = sgd()
        other_schedule = self.make(other, 10, arguments)
        other.load_state_dict(saved["optimizer"])
        other_schedule.load_state_dict(saved["schedule"])
        found = learning_rates(other, other_schedule, 10 - stop)
        assert found == expected, (
            f"loaded after step {stop} of 10, learning rates are {found} instead of {expected}: "
            "keep everything that they depend on in `state_dict()`"
        )


def sgd() -> Optimizer:
    """An optimizer with two groups of different learning rates."""
    groups = [
        {"params": [nn.Parameter(torch.ones(2))], "lr": 0.1},
        {"params": [nn.Parameter(torch.ones(3))], "lr": 1.0},
    ]
    return SGD(groups, momentum=0.9)


def learning_rates(optimizer: Optimizer, schedule: LRScheduler, steps: int) -> list[list[float]]:
    """The learning rates of all groups before each training step, and after the last."""
    found = []
    for _ in range(steps):
        found.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return [*found, [float(group["lr"]) for group in optimizer.param_groups]]


def _is_valid(rate: float) -> bool:
    return 0 <= rate < math.inf
