"""Histograms on the device."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def count_values(
    index: Int[Tensor, "*shape"], weights: Int[Tensor, "*shape"], size: int
) -> Int[Tensor, " size"]:
    """Sum the weights of each index in 0..size - 1.

    Like `torch.bincount`, but without synchronizing with the device.
    """
    return index.new_zeros(size).scatter_add_(0, index.flatten(), weights.flatten())


def count_per_image(
    values: Int[Tensor, "B H W"], where: Bool[Tensor, "B H W"], classes: int
) -> Int[Tensor, "B C"]:
    """Count the pixels of each class in each image, among those selected by `where`."""
    images = len(values)
    first = torch.arange(images, device=values.device)[:, None, None] * classes
    found = count_values(first + values.clamp(min=0), where.long(), images * classes)
    return found.view(images, classes)
