"""Whole images and their masks, stacked where they have the same size."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Integer, UInt, UInt8
from torch import Tensor

from hieraseg.data.batches.batch import label_tensor, pinned
from hieraseg.data.prefetch import prefetch
from hieraseg.data.stores.store import Store
from hieraseg.data.stores.targets import TargetStore


class Stack(NamedTuple):
    """Images of one size with masks of one size.

    Attributes:
        rows: their rows in the store.
        images: RGB.
        masks: label values, uint8 or int32.
    """

    rows: Int[Tensor, " n"]
    images: UInt8[Tensor, "n _ _ 3"]
    masks: Integer[Tensor, "n _ _"]


def read_stacks(
    store: Store,
    masks: Store | TargetStore,
    steps: Sequence[Sequence[Sequence[int]]],
    ahead: int,
    device: torch.device,
) -> Iterator[list[Stack]]:
    """The stacks of each batch, read ahead, and pinned for copies to a CUDA device.

    Args:
        store: the images.
        masks: their masks, perhaps of other sizes.
        steps: rows of each stack of each batch.
        ahead: number of images to read ahead.
        device: device that they will be copied to.
    """

    def read(row: int) -> tuple[UInt8[np.ndarray, "_ _ 3"], UInt[np.ndarray, "_ _"]]:
        return store.image(row), masks.mask(row)

    # Images may be files that are decoded here, so each is read by a thread of its own.
    threads = torch.get_num_threads()
    rows = [row for step in steps for stack in step for row in stack]
    read_ahead = prefetch(read, rows, max(threads + 1, ahead), threads)

    def stacked(step: Sequence[Sequence[int]]) -> list[Stack]:
        return [pinned(_stack(rows, list(islice(read_ahead, len(rows)))), device) for rows in step]

    return prefetch(stacked, steps)


def _stack(
    rows: Sequence[int],
    pairs: list[tuple[UInt8[np.ndarray, "_ _ 3"], UInt[np.ndarray, "_ _"]]],
) -> Stack:
    images, masks = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    return Stack(torch.tensor(rows), torch.from_numpy(images), label_tensor(masks))
