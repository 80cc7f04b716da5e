"""Polynomial decay of the learning rate."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR

from hieraseg.types import PositiveFloat, check_arguments
from hieraseg_plugins.schedules.warmup import Warmup, warmup_steps, with_warmup


@check_arguments
def poly(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int | None = None,
    power: PositiveFloat = 0.9,
    warmup: Warmup = 0.0,
) -> LRScheduler:
    """Decay by `(1 - step / total_steps)^power` (Chen et al. 2016, arXiv:1606.00915).

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        total_steps: number of training steps.
        steps_per_epoch: number of steps in an epoch.
        power: exponent of the decay.
        warmup: how long the learning rate first rises linearly: a share of the training steps, or
            as in `500 steps` or `1 epoch`.

    Raises:
        ValueError: `power` or `warmup` is out of range.
    """
    warm = warmup_steps(warmup, total_steps, steps_per_epoch)
    return with_warmup(
        optimizer, warm, lambda: PolynomialLR(optimizer, max(total_steps - warm, 1), power)
    )
