"""Batches of a store: which images, in which order, on which process."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from hieraseg.data.store import Store

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Batch:
    """Images as they are stored.

    Attributes:
        rows: int64 `[B]`, row of each image in the store.
        images: uint8 `[B, 3, H, W]` (channels last in memory).
        masks: uint8 `[B, H, W]`, label values.
    """

    rows: Int[Tensor, " B"]
    images: UInt8[Tensor, "B 3 H W"]
    masks: UInt8[Tensor, "B H W"]

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; the copy does not wait where the memory is pinned."""
        moved = (t.to(device, non_blocking=True) for t in (self.rows, self.images, self.masks))
        return Batch(*moved)


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


def own_share(rows: Shaped[Tensor, "B ..."], rank: int, processes: int) -> Shaped[Tensor, "b ..."]:
    """The rows (or what is drawn for each) that one of several processes takes."""
    return rows[rank::processes]


def load(store: Store, steps: list[Int[Tensor, " B"]], pin_memory: bool) -> Iterator[Batch]:
    """The batch of each step, read ahead of its use.

    Args:
        store: where the images are.
        steps: the rows of each step.
        pin_memory: page-lock the batches, for a copy to a GPU that nothing waits for.
    """

    def read(rows: Int[Tensor, " B"]) -> Batch:
        images = torch.from_numpy(store.images[rows.numpy()])
        masks = torch.from_numpy(store.masks[rows.numpy()])
        if pin_memory:
            images, masks = images.pin_memory(), masks.pin_memory()
        return Batch(rows, images.permute(0, 3, 1, 2), masks)

    return read_ahead(read, steps)


def read_ahead(
    read: Callable[[Item], Result], items: Sequence[Item], ahead: int = 2
) -> Iterator[Result]:
    """`read(item)` of each item in order, done by a thread some items before they are used."""
    with ThreadPoolExecutor(1) as reader:
        waiting = deque(reader.submit(read, item) for item in items[:ahead])
        for following in (*items[ahead:], *[None] * min(ahead, len(items))):
            yield waiting.popleft().result()
            if following is not None:
                waiting.append(reader.submit(read, following))
