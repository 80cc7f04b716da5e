"""Batches of a store: which images, in which order, on which process."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Int, UInt8
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
