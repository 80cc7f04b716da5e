"""Histograms on the device."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def count_values(
    index: Int[Tensor, "*shape"], weights: Int[Tensor, "*shape"], size: int
) -> Int[Tensor, " size"]:
    """Sum of the weights of each index from 0 to `size - 1`.

    Exact, and without a wait for the device, as `torch.bincount` is not.
    """
    return index.new_zeros(size).scatter_add_(0, index.flatten(), weights.flatten())


def count_per_image(
    values: Int[Tensor, "B H W"], where: Bool[Tensor, "B H W"], classes: int
) -> Int[Tensor, "B C"]:
    """How many pixels of each class an image has, of those in `where`."""
    images = len(values)
    first = torch.arange(images, device=values.device)[:, None, None] * classes
    found = count_values(first + values.clamp(min=0), where.long(), images * classes)
    return found.view(images, classes)
