"""Drops of the learning rate at regular intervals."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from hieraseg.types import ArgumentError, check_arguments
from hieraseg_plugins.schedules.moments import DropFactor, Moment, in_steps
from hieraseg_plugins.schedules.warmup import Warmup, warmup_steps, with_warmup


@check_arguments
def step(
    optimizer: Optimizer,
    total_steps: int,
    every: Moment,
    steps_per_epoch: int | None = None,
    gamma: DropFactor = 0.1,
    warmup: Warmup = 0.0,
) -> LRScheduler:
    """The learning rate, multiplied by gamma at regular intervals.

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        total_steps: number of training steps.
        every: interval from one drop to the next, the first counted from the beginning of
            training: a share of the training steps, or as in `30 epochs` or `60000 steps`.
        steps_per_epoch: number of steps in an epoch.
        gamma: factor of the learning rate.
        warmup: how long the learning rate first rises linearly: a share of the training steps, or
            as in `500 steps` or `1 epoch`.

    Raises:
        ValueError: an argument is out of range, the warm-up is longer than an interval, or an
            interval as long as the training.
    """
    interval = max(in_steps("every", every, total_steps, steps_per_epoch), 1)
    warm = warmup_steps(warmup, total_steps, steps_per_epoch)
    if interval < warm:
        raise ArgumentError(
            "every", f"must not be shorter than the warm-up of {warm} steps, got {every!r}"
        )
    drops = range(interval - warm, total_steps + 1, interval)
    return with_warmup(optimizer, warm, lambda: MultiStepLR(optimizer, drops, gamma))
