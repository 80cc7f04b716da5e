"""Cosine decay of the learning rate with warm restarts."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler

from hieraseg.types import PositiveInt, check_arguments
from hieraseg_plugins.schedules.moments import Moment, in_steps
from hieraseg_plugins.schedules.warmup import Warmup, warmup_steps, with_warmup


@check_arguments
def cosine_restarts(
    optimizer: Optimizer,
    total_steps: int,
    period: Moment,
    steps_per_epoch: int | None = None,
    growth: PositiveInt = 1,
    warmup: Warmup = 0.0,
) -> LRScheduler:
    """Half cosines to 0, after each of which the learning rate is restored (SGDR).

    Source: Loshchilov & Hutter 2016, "SGDR", arXiv:1608.03983. The published periods are 1 or 10
    epochs with growth 2, or 50 to 200 epochs with growth 1. Training ends at 0 if whole periods
    fill it: those of 10, 20 and 40 epochs fill 70.

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        total_steps: number of training steps.
        period: length of the first cosine: a share of the training steps, or as in `10 epochs` or
            `5000 steps`.
        steps_per_epoch: number of steps in an epoch.
        growth: how many times as long as the one before each cosine is.
        warmup: how long the learning rate first rises linearly, before the first cosine: a share
            of the training steps, or as in `500 steps` or `1 epoch`.

    Raises:
        ValueError: an argument is out of range, or longer than the training.
    """
    first = max(in_steps("period", period, total_steps, steps_per_epoch, may_be_last=True), 1)
    warm = warmup_steps(warmup, total_steps, steps_per_epoch)
    return with_warmup(
        optimizer, warm, lambda: CosineAnnealingWarmRestarts(optimizer, first, growth)
    )
