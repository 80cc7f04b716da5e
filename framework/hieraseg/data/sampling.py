"""Random numbers and the order of images, as pure functions of (seed, epoch, step)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

_GOLDEN = (5**0.5 - 1) / 2  # its multiples are spread evenly over 0..1


def generator(seed: int, epoch: int, step: int = 0) -> torch.Generator:
    """A CPU generator that is seeded by (seed, epoch, step) alone."""
    return _generator(seed, epoch, step)


def training_order(
    images: int,
    batch_size: int,
    seed: int,
    epoch: int,
    members: Sequence[tuple[int, float]] = (),
    repeats: Float[np.ndarray, " images"] | None = None,
) -> list[Int[Tensor, " B"]]:
    """Rows of the images in each step of an epoch, shuffled by (seed, epoch).

    The last, incomplete batch is dropped; with less than `batch_size` images there is one
    smaller batch.

    Args:
        images: number of images.
        batch_size: images per step.
        seed: seed of the run.
        epoch: the epoch.
        members: number of images and weight of each data set that is sampled by weight (see
            `Store`). An epoch has as many steps as without, and each data set its share of them.
            Its images are used in shuffled order, all of them before any is used again, which
            goes on from one epoch to the next.
        repeats: how often each image is drawn, relative to the others (see `stores.repeats`);
            not together with `members`. An epoch has as many steps as without, in which an image is
            drawn as often as its share of the sum says, rounded up or down at random.
    """
    steps = steps_per_epoch(images, batch_size)
    random = generator(seed, epoch)
    if members:
        rows = _weighted_rows(members, min(steps * batch_size, images), seed, epoch)
        order = rows[torch.randperm(len(rows), generator=random)]
    elif repeats is not None:
        rows = _repeated_rows(repeats, min(steps * batch_size, images), random)
        order = rows[torch.randperm(len(rows), generator=random)]
    else:
        order = torch.randperm(images, generator=random)
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Number of full batches in an epoch, at least 1."""
    return max(images // batch_size, 1)


def _repeated_rows(
    repeats: Float[np.ndarray, " images"], count: int, random: torch.Generator
) -> Int[Tensor, " count"]:
    """Rows of images, each as often as its share of the sum of `repeats` says.

    In random order, the images are intervals of these lengths, and a row is taken at each integer
    plus a random offset (systematic sampling).
    """
    images = torch.randperm(len(repeats), generator=random)
    offset = torch.rand((), generator=random, dtype=torch.float64).item()
    ends = np.cumsum(repeats[images.numpy()])
    taken = np.floor(ends / ends[-1] * count + offset).clip(max=count).astype(np.int64)
    return images.repeat_interleave(torch.from_numpy(np.diff(taken, prepend=0)))


def _weighted_rows(
    members: Sequence[tuple[int, float]], count: int, seed: int, epoch: int
) -> Int[Tensor, " count"]:
    """Rows that an epoch takes of each data set, one after the other."""
    sizes, weights = zip(*members, strict=True)
    shares = _shares(weights, count, epoch)
    rows = []
    for member, (size, share) in enumerate(zip(sizes, shares[-1].tolist(), strict=True)):
        first = int(shares[:-1, member].sum())  # position in endless passes over its images
        passes = range(first // size, -(-(first + share) // size))
        # Unlike the generator of a step, these have a fourth number that is not zero.
        orders = [
            torch.randperm(size, generator=_generator(seed, one, member, 1)) for one in passes
        ]
        start = first % size
        endless = torch.cat([torch.empty(0, dtype=torch.int64), *orders])
        rows.append(endless[start : start + share] + sum(sizes[:member]))
    return torch.cat(rows)


def _shares(weights: Sequence[float], count: int, epoch: int) -> Int[np.ndarray, "epochs members"]:
    """Images of each data set in each epoch up to this one: `count` together, by their weights.

    Rounding differs from epoch to epoch, so that small weights get their share, too.
    """
    ends = np.cumsum(weights) / np.sum(weights)
    ends[-1] = 1
    rounding = np.arange(epoch + 1)[:, None] * _GOLDEN % 1
    return np.diff(np.floor(count * ends + rounding).astype(np.int64), prepend=0)


def _generator(*key: int) -> torch.Generator:
    mixed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))
