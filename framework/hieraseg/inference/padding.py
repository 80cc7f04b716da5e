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

Predict = Callable[[Sequence[Float[Tensor, "1 3 _ _"]]], list[Prediction]]
"""Images of different sizes -> a prediction for each, at the size of the image."""


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

    def __call__(self, images: Sequence[Float[Tensor, "1 3 _ _"]]) -> list[Prediction]:
        """Predict images in 0..1, which have the same size when they are padded, as one batch."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        (padded,) = {padded_size(size, self.stride) for size in sizes}
        logits = self.model(self._batch(images, padded)).logits
        return [
            Prediction(tuple(level[index : index + 1, :, :height, :width] for level in logits))
            for index, (height, width) in enumerate(sizes)
        ]

    def _batch(
        self, images: Sequence[Float[Tensor, "1 3 _ _"]], size: tuple[int, int]
    ) -> Float[Tensor, "B 3 H W"]:
        if all(image.shape[-2:] == size for image in images):
            return torch.cat(list(images)) if len(images) > 1 else images[0]
        batch = self.color.to(images[0]).repeat(len(images), 1, *size)
        batch = batch.contiguous(memory_format=torch.channels_last)
        for padded, image in zip(batch, images, strict=True):
            padded[:, : image.shape[-2], : image.shape[-1]] = image[0]
        return batch
