"""Histograms on the device."""

import torch
from jaxtyping import Int
from torch import Tensor

_COPIES = {"cpu": 1, "cuda": 64}
_LARGEST = 2**21  # bins with all copies: 16 MB


def count_values(
    index: Int[Tensor, "*shape"], weights: Int[Tensor, "*shape"], size: int
) -> Int[Tensor, " size"]:
    """Sum the weights of each index in 0..size - 1.

    Like `torch.bincount`, but without synchronizing with the device, so that it can be captured
    in a CUDA graph.
    """
    index, weights = index.flatten(), weights.flatten()
    # A GPU adds to one address at a time, and neighboring pixels mostly have the same class. With
    # copies of each bin side by side, the 32 threads of a warp add to 32 addresses. What takes the
    # time is then to read an index and a weight of 8 bytes per pixel, for 1 class as for 10,000;
    # comparisons with each class would read and write a byte per pixel and class.
    copies = max(1, min(_COPIES[index.device.type], _LARGEST // max(1, size)))
    if copies > 1:
        lanes = torch.arange(len(index), device=index.device) % copies
        index = torch.add(lanes, index, alpha=copies)
    total = weights.new_zeros(size * copies).scatter_add_(0, index, weights)
    return total.view(size, copies).sum(1) if copies > 1 else total


def count_per_image(
    values: Int[Tensor, "B H W"], weights: Int[Tensor, "B H W"], classes: int
) -> Int[Tensor, "B C"]:
    """Sum the weights of the pixels of each class in each image. Ignored pixels must have none."""
    images = len(values)
    first = torch.arange(0, images * classes, classes, device=values.device)[:, None, None]
    found = count_values(values.clamp(min=0) + first, weights, images * classes)
    return found.view(images, classes)
