"""Changing one channel of each pixel, or of each group of channels.

Eager code scatters, which reads and writes no other channel. Compiled code masks, which is part of
the pass that computes the other channels, where scattering would copy them all.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def zero_at(
    values: Float[Tensor, "B C H W"], index: Int[Tensor, "B 1 H W"]
) -> Float[Tensor, "B C H W"]:
    """Set a channel of each pixel to 0, in place if possible."""
    if torch.compiler.is_compiling():
        return values.masked_fill(_at(values, index), 0)
    return values.scatter_(1, index, 0)


def add_at(
    values: Float[Tensor, "B C H W"],
    index: Int[Tensor, "B G H W"],
    addend: Float[Tensor, "B G H W"],
    groups: Int[Tensor, " C"] | None = None,
) -> Float[Tensor, "B C H W"]:
    """Add to a channel of each group of channels, in place if possible.

    Args:
        values: what to add to.
        index: the channel of each group.
        addend: what to add to it.
        groups: group of each channel; None if all are of one group.
    """
    if torch.compiler.is_compiling():
        if groups is not None:
            index, addend = index.index_select(1, groups), addend.index_select(1, groups)
        return values + torch.where(_at(values, index), addend, 0)
    # Some groups at a time, so that temporary tensors are small. No channel is in two groups, so
    # nothing is added up, which would take atomic operations.
    parts = 1 if index.shape[1] < 64 else 8
    for some, own in zip(index.chunk(parts, 1), addend.chunk(parts, 1), strict=True):
        some = some.long()
        values.scatter_(1, some, values.gather(1, some) + own)
    return values


def _at(values: Float[Tensor, "B C H W"], index: Int[Tensor, "B _ H W"]) -> Bool[Tensor, "B C H W"]:
    channels = torch.arange(values.shape[1], device=values.device)
    return channels.view(1, -1, 1, 1) == index
