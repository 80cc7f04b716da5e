"""Cosine decay of the learning rate."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from hieraseg_plugins.schedules.warmup import with_warmup


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.0) -> LRScheduler:
    """Half a cosine from the learning rate to 0 (Loshchilov & Hutter 2016, arXiv:1608.03983).

    Args:
        optimizer: whose learning rates are scheduled.
        total_steps: training steps in all.
        warmup: share of the training (0..1) over which the learning rate first rises linearly.
    """
    return with_warmup(
        optimizer, total_steps, warmup, lambda steps: CosineAnnealingLR(optimizer, steps)
    )
