"""Batches of a store, read ahead of their use."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Integer, Num, UInt
from torch import Tensor

from hieraseg.data.stores.store import Store
from hieraseg.draws import Draws, Numbers


class Step(NamedTuple):
    """The images of this process in a training step.

    Attributes:
        rows: their rows in the store.
        draws: their random numbers.
    """

    rows: Int[Tensor, " B"]
    draws: Draws


class Batch(NamedTuple):
    """Images, masks, and the random numbers to augment them with.

    Attributes:
        images: RGB `[B, 3, H, W]`: uint8 as stored, channels last in memory; or crops, float32 in
            0..1.
        masks: label values, uint8 `[B, H, W]`, or int32 for a store of uint16.
        uniform, seeds: random numbers (see `draws.Numbers`).
    """

    images: Num[Tensor, "B 3 H W"]
    masks: Integer[Tensor, "B H W"]
    uniform: Float[Tensor, "B N"]
    seeds: Int[Tensor, " B"]

    @property
    def numbers(self) -> Numbers:
        """The random numbers."""
        return Numbers(self.uniform, self.seeds)


class RowBatch(NamedTuple):
    """Where to find the images of a batch in a store that is on the device.

    Attributes:
        rows: row of each image in the store.
        uniform, seeds: random numbers (see `draws.Numbers`).
    """

    rows: Int[Tensor, " B"]
    uniform: Float[Tensor, "B N"]
    seeds: Int[Tensor, " B"]

    @property
    def numbers(self) -> Numbers:
        """The random numbers."""
        return Numbers(self.uniform, self.seeds)


class CropBatch(NamedTuple):
    """Where to find the crops of a batch in a store that is on the device (see `cropping.Crops`).

    Attributes:
        rows: row of each image in the store.
        matrices, levels, flipped: the part of each image.
        uniform, seeds: random numbers (see `draws.Numbers`).
    """

    rows: Int[Tensor, " B"]
    matrices: Float64[Tensor, "B 2 3"]
    levels: Float[Tensor, " B"]
    flipped: Bool[Tensor, " B"]
    uniform: Float[Tensor, "B N"]
    seeds: Int[Tensor, " B"]

    @property
    def numbers(self) -> Numbers:
        """The random numbers."""
        return Numbers(self.uniform, self.seeds)


AnyBatch = Batch | RowBatch | CropBatch
"""What a training step gets of its images."""

Tensors = TypeVar("Tensors", bound=tuple)
"""A `NamedTuple` of tensors."""


def map_tensors(function: Callable[[Tensor], Tensor], tensors: Tensors) -> Tensors:
    """The same kind of `NamedTuple`, with a function applied to each tensor."""
    return type(tensors)(*map(function, tensors))


def to_device(tensors: Tensors, device: torch.device) -> Tensors:
    """Copy tensors to a device, asynchronously if their memory is pinned."""
    return map_tensors(lambda one: one.to(device, non_blocking=True), tensors)


def pinned(tensors: Tensors, device: torch.device) -> Tensors:
    """Copy tensors into page-locked memory, for asynchronous copies to a device, if it is CUDA."""
    if device.type != "cuda":
        return tensors
    with torch.cuda.device(device):  # a new thread would use the first GPU
        return map_tensors(torch.Tensor.pin_memory, tensors)


def label_tensor(mask: UInt[np.ndarray, "*batch H W"]) -> Integer[Tensor, "*batch H W"]:
    """A mask as a tensor: uint8, or int32 for uint16, which few operations of torch support."""
    return torch.from_numpy(mask if mask.dtype == np.uint8 else mask.astype(np.int32))


def label_dtype(store: Store) -> torch.dtype:
    """The type of a store's masks as tensors."""
    return torch.uint8 if store.mask(0).dtype == np.uint8 else torch.int32


def read_rows(store: Store, rows: Int[Tensor, " B"]) -> tuple[Tensor, Tensor]:
    """Images, channels last in memory, and masks of some rows, which have the same shape."""
    images = torch.from_numpy(np.stack([store.image(row) for row in rows.tolist()]))
    masks = label_tensor(np.stack([store.mask(row) for row in rows.tolist()]))
    return images.permute(0, 3, 1, 2), masks
