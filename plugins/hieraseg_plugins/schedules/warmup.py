"""Linear warm-up before another schedule."""

from collections.abc import Callable
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, SequentialLR

from hieraseg.types import Duration, Range
from hieraseg_plugins.schedules.moments import in_steps

Warmup = Annotated[float, Range(ge=0, lt=1)] | Duration
"""A share of the training steps, or a number of steps or epochs, in which the rate rises."""


def warmup_steps(warmup: Warmup, total_steps: int, steps_per_epoch: int | None) -> int:
    """Number of steps in which the learning rate rises, which leave at least one.

    Args:
        warmup: the warm-up.
        total_steps: number of training steps.
        steps_per_epoch: number of steps in an epoch; None if the warm-up is not given in epochs.

    Raises:
        ValueError: the learning rate would never be reached.
    """
    return min(in_steps("warmup", warmup, total_steps, steps_per_epoch), total_steps - 1)


def with_warmup(
    optimizer: Optimizer, steps: int, schedule: Callable[[], LRScheduler]
) -> LRScheduler:
    """A linear warm-up from 1 % of the learning rate, followed by another schedule.

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        steps: number of steps in which the learning rate rises.
        schedule: makes the schedule of all steps after these.
    """
    if steps == 0:
        return schedule()
    rise = LinearLR(optimizer, start_factor=0.01, total_iters=steps)
    return SequentialLR(optimizer, [rise, schedule()], [steps])
