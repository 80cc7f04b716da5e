"""Polynomial decay of the learning rate."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR

from hieraseg.types import PositiveFloat, check_arguments
from hieraseg_plugins.schedules.warmup import Warmup, with_warmup


@check_arguments
def poly(
    optimizer: Optimizer, total_steps: int, power: PositiveFloat = 0.9, warmup: Warmup = 0.0
) -> LRScheduler:
    """Decay by `(1 - step / total_steps)^power` (Chen et al. 2016, arXiv:1606.00915).

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        total_steps: number of training steps.
        power: exponent of the decay.
        warmup: share of the training steps in which the learning rate first rises linearly.

    Raises:
        ValueError: `power` or `warmup` is out of range.
    """
    return with_warmup(
        optimizer, total_steps, warmup, lambda steps: PolynomialLR(optimizer, steps, power)
    )
