"""Which images, in which order, on which process: pure functions of (seed, epoch, step)."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


def generator(seed: int, epoch: int, step: int = 0) -> torch.Generator:
    """Random numbers that depend on (seed, epoch, step) alone."""
    mixed = np.random.SeedSequence((seed, epoch, step)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))


def training_order(images: int, batch_size: int, seed: int, epoch: int) -> list[Int[Tensor, " B"]]:
    """The rows of each step of an epoch: a pure function of (seed, epoch).

    The images left over after the last full batch are not seen in this epoch (another order
    leaves out others); a store smaller than a batch is one batch.
    """
    order = torch.randperm(images, generator=generator(seed, epoch))
    steps = steps_per_epoch(images, batch_size)
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Full batches in an epoch; one smaller batch where there is no full one."""
    return max(images // batch_size, 1)
