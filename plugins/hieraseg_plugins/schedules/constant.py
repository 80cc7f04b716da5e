"""A constant learning rate."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler

from hieraseg.types import check_arguments
from hieraseg_plugins.schedules.warmup import Warmup, warmup_steps, with_warmup


@check_arguments
def constant(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int | None = None,
    warmup: Warmup = 0.0,
) -> LRScheduler:
    """The learning rate of the optimizer, after a warm-up if there is one.

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        total_steps: number of training steps.
        steps_per_epoch: number of steps in an epoch.
        warmup: how long the learning rate first rises linearly: a share of the training steps, or
            as in `500 steps` or `1 epoch`.

    Raises:
        ValueError: `warmup` is out of range.
    """
    warm = warmup_steps(warmup, total_steps, steps_per_epoch)
    return with_warmup(optimizer, warm, lambda: ConstantLR(optimizer, factor=1.0))
