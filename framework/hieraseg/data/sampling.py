"""Random numbers and the order of images, as pure functions of (seed, epoch, step)."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


def generator(seed: int, epoch: int, step: int = 0) -> torch.Generator:
    """A CPU generator that is seeded by (seed, epoch, step) alone."""
    mixed = np.random.SeedSequence((seed, epoch, step)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))


def training_order(images: int, batch_size: int, seed: int, epoch: int) -> list[Int[Tensor, " B"]]:
    """Rows of the images in each step of an epoch, shuffled by (seed, epoch).

    The last, incomplete batch is dropped; with less than `batch_size` images there is one
    smaller batch.
    """
    order = torch.randperm(images, generator=generator(seed, epoch))
    steps = steps_per_epoch(images, batch_size)
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Number of full batches in an epoch, at least 1."""
    return max(images // batch_size, 1)
