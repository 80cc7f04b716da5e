"""Polynomial decay of the learning rate."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR

from hieraseg_plugins.schedules.warmup import with_warmup


def poly(
    optimizer: Optimizer, total_steps: int, power: float = 0.9, warmup: float = 0.0
) -> LRScheduler:
    """Decay by `(1 - step / total_steps)^power` (Chen et al. 2016, arXiv:1606.00915).

    Args:
        optimizer: whose learning rates are scheduled.
        total_steps: training steps in all.
        power: exponent of the decay.
        warmup: share of the training (0..1) over which the learning rate first rises linearly.
    """
    return with_warmup(
        optimizer, total_steps, warmup, lambda steps: PolynomialLR(optimizer, steps, power)
    )
