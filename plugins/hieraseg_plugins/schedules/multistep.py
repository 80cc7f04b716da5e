"""Drops of the learning rate at given moments."""

from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from hieraseg.types import ArgumentError, Distinct, NonEmpty, check_arguments
from hieraseg_plugins.schedules.moments import DropFactor, Moment, in_steps
from hieraseg_plugins.schedules.warmup import Warmup, warmup_steps, with_warmup


@check_arguments
def multistep(
    optimizer: Optimizer,
    total_steps: int,
    milestones: Annotated[list[Moment], Distinct(), NonEmpty()],
    steps_per_epoch: int | None = None,
    gamma: DropFactor = 0.1,
    warmup: Warmup = 0.0,
) -> LRScheduler:
    """The learning rate, multiplied by gamma at each milestone.

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        total_steps: number of training steps.
        milestones: when it is multiplied: shares of the training steps, or as in `30 epochs` or
            `60000 steps`, counted from the beginning of training.
        steps_per_epoch: number of steps in an epoch.
        gamma: factor of the learning rate.
        warmup: how long the learning rate first rises linearly: a share of the training steps, or
            as in `500 steps` or `1 epoch`.

    Raises:
        ValueError: an argument is out of range, or a milestone is within the warm-up, duplicate, or
            not before the end of training.
    """
    warm = warmup_steps(warmup, total_steps, steps_per_epoch)
    drops = [in_steps("milestones", one, total_steps, steps_per_epoch) - warm for one in milestones]
    if min(drops) < 0:
        first = milestones[drops.index(min(drops))]
        raise ArgumentError(
            "milestones", f"must not be within the warm-up of {warm} steps, got {first!r}"
        )
    # Shares can be the same step of a short training.
    counted = [drop for drop, one in zip(drops, milestones, strict=True) if isinstance(one, str)]
    if len(set(counted)) < len(counted):
        raise ArgumentError(
            "milestones", f"must be at different steps, got {milestones}; keep one of the same"
        )
    return with_warmup(optimizer, warm, lambda: MultiStepLR(optimizer, drops, gamma))
