"""Cosine decay of the learning rate."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from hieraseg.types import check_arguments
from hieraseg_plugins.schedules.warmup import Warmup, with_warmup


@check_arguments
def cosine(optimizer: Optimizer, total_steps: int, warmup: Warmup = 0.0) -> LRScheduler:
    """Half a cosine from the learning rate to 0 (Loshchilov & Hutter 2016, arXiv:1608.03983).

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        total_steps: number of training steps.
        warmup: share of the training steps in which the learning rate first rises linearly.

    Raises:
        ValueError: `warmup` is out of range.
    """
    return with_warmup(
        optimizer, total_steps, warmup, lambda steps: CosineAnnealingLR(optimizer, steps)
    )
