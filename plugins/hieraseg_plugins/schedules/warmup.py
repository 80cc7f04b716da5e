"""Linear warm-up before another schedule."""

from collections.abc import Callable
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, SequentialLR

from hieraseg.types import Range

Warmup = Annotated[float, Range(ge=0, lt=1)]
"""Share of the training steps in which the learning rate rises."""


def with_warmup(
    optimizer: Optimizer,
    total_steps: int,
    warmup: Warmup,
    schedule: Callable[[int], LRScheduler],
) -> LRScheduler:
    """A linear warm-up from 1 % of the learning rate, followed by another schedule.

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        total_steps: number of training steps.
        warmup: share of the training steps in which the learning rate rises.
        schedule: makes the schedule of the remaining steps, given their number.
    """
    warm = min(round(warmup * total_steps), total_steps - 1)
    if warm == 0:
        return schedule(total_steps)
    rise = LinearLR(optimizer, start_factor=0.01, total_iters=warm)
    return SequentialLR(optimizer, [rise, schedule(total_steps - warm)], [warm])
