"""Batches of a store, read ahead of their use."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Integer, Num, UInt
from torch import Tensor

from hieraseg.data.prefetch import prefetch
from hieraseg.data.stores.store import Store


@dataclass(frozen=True)
class Batch:
    """Images and masks.

    Attributes:
        rows: row of each image in the store, int64 `[B]`.
        images: RGB `[B, 3, H, W]`: uint8 as stored, channels last in memory; or crops, float32 in
            0..1.
        masks: label values, uint8 `[B, H, W]`, or int32 for a store of uint16.
    """

    rows: Int[Tensor, " B"]
    images: Num[Tensor, "B 3 H W"]
    masks: Integer[Tensor, "B H W"]

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch to a device, asynchronously if its memory is pinned."""
        moved = (t.to(device, non_blocking=True) for t in (self.rows, self.images, self.masks))
        return Batch(*moved)

    def pin_memory(self) -> "Batch":
        """Copy the batch into page-locked memory."""
        return Batch(self.rows, self.images.pin_memory(), self.masks.pin_memory())


def label_tensor(mask: UInt[np.ndarray, "*batch H W"]) -> Integer[Tensor, "*batch H W"]:
    """A mask as a tensor: uint8, or int32 for uint16, which few operations of torch support."""
    return torch.from_numpy(mask if mask.dtype == np.uint8 else mask.astype(np.int32))


def load(
    store: Store, steps: list[Int[Tensor, " _"]], pin_memory: bool, threads: int = 1
) -> Iterator[Batch]:
    """Yield the batch of each step. The images of a step have the same shape.

    Args:
        store: the images and masks.
        steps: rows of the store in each step.
        pin_memory: copy batches into page-locked memory, for asynchronous copies to a GPU.
        threads: number of threads that read.
    """

    def read(rows: Int[Tensor, " B"]) -> Batch:
        images = torch.from_numpy(np.stack([store.image(row) for row in rows.tolist()]))
        masks = label_tensor(np.stack([store.mask(row) for row in rows.tolist()]))
        batch = Batch(rows, images.permute(0, 3, 1, 2), masks)
        return batch.pin_memory() if pin_memory else batch

    return prefetch(read, steps, threads + 1, threads)
