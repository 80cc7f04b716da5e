"""A linear warm-up before any other schedule."""

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, SequentialLR


def with_warmup(
    optimizer: Optimizer,
    total_steps: int,
    warmup: float,
    schedule: Callable[[int], LRScheduler],
) -> LRScheduler:
    """`schedule(steps)` over the steps that a linear warm-up leaves.

    Args:
        optimizer: whose learning rates are scheduled.
        total_steps: training steps in all.
        warmup: share of them (0..1, 1 excluded) over which the learning rate rises from 1 %.
        schedule: makes the schedule for a number of steps.

    Raises:
        ValueError: a warm-up outside 0..1.
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is {warmup}, but must be a share of the training, 0 to 1")
    warm = min(round(warmup * total_steps), total_steps - 1)
    if warm == 0:
        return schedule(total_steps)
    rise = LinearLR(optimizer, start_factor=0.01, total_iters=warm)
    return SequentialLR(optimizer, [rise, schedule(total_steps - warm)], [warm])
