"""Images of any size for a model that needs a multiple of its stride."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hieraseg.contracts import Prediction

Model = Callable[[Float[Tensor, "B 3 H W"]], Prediction]
"""Images in 0..1 -> logits per level, at the size of the images."""

Predict = Callable[[Sequence[Float[Tensor, "_ 3 _ _"]]], list[Prediction]]
"""Stacks of images, each stack of another size -> their predictions, at the size of the images."""


def padded_size(size: Sequence[int], stride: int) -> tuple[int, int]:
    """Height and width, rounded up to multiples of a stride."""
    height, width = (math.ceil(side / stride) * stride for side in size)
    return height, width


@dataclass(frozen=True)
class PaddedModel:
    """Pads images at the bottom and on the right, and crops their logits back.

    Attributes:
        model: the model.
        stride: images are padded to a multiple of it; 1 for no padding.
        color: RGB in 0..1 of the padding, `[1, 3, 1, 1]`.
    """

    model: Model
    stride: int
    color: Float[Tensor, "1 3 1 1"]

    def __call__(self, stacks: Sequence[Float[Tensor, "_ 3 _ _"]]) -> list[Prediction]:
        """Predict images in 0..1, which have the same size when they are padded, as one batch.

        Args:
            stacks: images of the same size each.
        """
        sizes = [(stack.shape[-2], stack.shape[-1]) for stack in stacks]
        (padded,) = {padded_size(size, self.stride) for size in sizes}
        numbers = [len(stack) for stack in stacks]
        logits = self.model(self._batch(stacks, padded)).logits
        stacked = zip(*(level.split(numbers) for level in logits), strict=True)
        return [
            Prediction(tuple(level[:, :, :height, :width] for level in levels))
            for levels, (height, width) in zip(stacked, sizes, strict=True)
        ]

    def _batch(
        self, stacks: Sequence[Float[Tensor, "_ 3 _ _"]], size: tuple[int, int]
    ) -> Float[Tensor, "B 3 H W"]:
        if all(stack.shape[-2:] == size for stack in stacks):
            return torch.cat(list(stacks)) if len(stacks) > 1 else stacks[0]
        numbers = [len(stack) for stack in stacks]
        batch = self.color.to(stacks[0]).repeat(sum(numbers), 1, *size)
        batch = batch.contiguous(memory_format=torch.channels_last)
        for padded, stack in zip(batch.split(numbers), stacks, strict=True):
            padded[:, :, : stack.shape[-2], : stack.shape[-1]] = stack
        return batch
