"""What every schedule has to offer."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hieraseg.testing.component import DEFAULTS, Arguments, ComponentContract
from hieraseg.testing.optimizers import reload

STEPS = (1, 2, 3, 10, 1000)
"""Training steps in all."""


class ScheduleContract(ComponentContract):
    """What every schedule has to offer (see `contracts.ScheduleFactory`)."""

    def make(
        self, optimizer: Optimizer, total_steps: int, arguments: Arguments = DEFAULTS
    ) -> LRScheduler:
        """The schedule of an optimizer."""
        made = self.build(arguments, optimizer=optimizer, total_steps=total_steps)
        assert isinstance(made, LRScheduler), (
            f"it gives a {type(made).__name__}: return a torch.optim.lr_scheduler.LRScheduler"
        )
        return made

    @pytest.mark.parametrize("total_steps", STEPS)
    def test_learning_rates_are_numbers_from_0_up(
        self, arguments: Arguments, total_steps: int
    ) -> None:
        """In a training of any length, learning rates are finite, from 0 up, and not all 0."""
        optimizer = an_optimizer()
        schedule = self.make(optimizer, total_steps, arguments)
        steps = rates(optimizer, schedule, total_steps)
        wrong = [step for step, of_step in enumerate(steps) if not all(map(_is_rate, of_step))]
        assert not wrong, (
            f"in a training of {total_steps} steps, the learning rates before step {wrong[0]} "
            f"(the first is 0) are {steps[wrong[0]]}"
        )
        assert any(rate > 0 for of_step in steps[:total_steps] for rate in of_step), (
            f"in a training of {total_steps} steps, all learning rates are 0: nothing is learnt"
        )

    def test_it_changes_learning_rates_only(self, arguments: Arguments) -> None:
        """It keeps the optimizer's groups, and the parameters in them, as they are."""
        optimizer = an_optimizer()
        before = [list(group["params"]) for group in optimizer.param_groups]
        values = [one.detach().clone() for group in before for one in group]
        rates(optimizer, self.make(optimizer, 10, arguments), 10)
        after = [list(group["params"]) for group in optimizer.param_groups]
        assert [list(map(id, one)) for one in before] == [list(map(id, one)) for one in after], (
            "the optimizer's groups hold other parameters after it"
        )
        same = zip(values, (one for group in after for one in group), strict=True)
        assert all(torch.equal(one, other) for one, other in same), "it changes parameters"

    def test_the_same_again_gives_the_same(self, arguments: Arguments) -> None:
        """The same training has the same learning rates again."""
        first, again = (
            rates(optimizer, self.make(optimizer, 10, arguments), 10)
            for optimizer in (an_optimizer(), an_optimizer())
        )
        assert first == again, f"learning rates are {again} the second time, and were {first}"

    @pytest.mark.parametrize("stop", [0, 1, 4, 9])
    def test_a_saved_state_goes_on_as_before(self, arguments: Arguments, stop: int) -> None:
        """Saved and loaded at any step, it goes on exactly as if training had not stopped."""
        optimizer = an_optimizer()
        schedule = self.make(optimizer, 10, arguments)
        rates(optimizer, schedule, stop)
        saved = reload({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()})
        expected = rates(optimizer, schedule, 10 - stop)
        other = an_optimizer()
        other_schedule = self.make(other, 10, arguments)
        other.load_state_dict(saved["optimizer"])
        other_schedule.load_state_dict(saved["schedule"])
        found = rates(other, other_schedule, 10 - stop)
        assert found == expected, (
            f"loaded after step {stop} of 10, learning rates are {found} instead of {expected}: "
            "keep all that they depend on in `state_dict()`"
        )


def an_optimizer() -> Optimizer:
    """Two groups, whose learning rates differ."""
    groups = [
        {"params": [nn.Parameter(torch.ones(2))], "lr": 0.1},
        {"params": [nn.Parameter(torch.ones(3))], "lr": 1.0},
    ]
    return SGD(groups, momentum=0.9)


def rates(optimizer: Optimizer, schedule: LRScheduler, steps: int) -> list[list[float]]:
    """The groups' learning rates before each of some training steps, and after the last."""
    found = []
    for _ in range(steps):
        found.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return [*found, [float(group["lr"]) for group in optimizer.param_groups]]


def _is_rate(rate: float) -> bool:
    return 0 <= rate < float("inf")
