"""Backbone and decoder as one model: image -> logits per level at the image's size."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hieraseg.contracts import Prediction


class SegmentationModel(nn.Module):
    """A backbone and a decoder.

    Args:
        backbone: image -> feature pyramid (see `contracts.Backbone`).
        decoder: feature pyramid -> logits per level, at any stride.

    Attributes:
        mean: mean color of the images that the backbone was trained on, `[1, 3, 1, 1]`.
        std: their standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        # Not saved: they belong to the backbone's class.
        statistics = cast(Any, backbone)
        self.register_buffer("mean", _per_channel(statistics.mean), persistent=False)
        self.register_buffer("std", _per_channel(statistics.std), persistent=False)

    @property
    def stride(self) -> int:
        """Pixels of the image per pixel of the coarsest feature map."""
        return int(max(cast(Any, self.backbone).strides))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Logits at the image's size.

        Args:
            image: RGB in 0..1.
        """
        prediction: Prediction = self.decoder(self.backbone((image - self.mean) / self.std))
        # In float32: the gradient of upsampling adds up many pixels.
        logits = tuple(level.float() for level in prediction.logits)
        embedding = None if prediction.embedding is None else prediction.embedding.float()
        size = (image.shape[-2], image.shape[-1])
        return resize_logits(Prediction(logits, embedding), size)


def resize_logits(prediction: Prediction, size: tuple[int, ...]) -> Prediction:
    """The prediction with its logits resized bilinearly to (height, width)."""
    logits = tuple(
        level
        if level.shape[-2:] == size
        else F.interpolate(level, size, mode="bilinear", align_corners=False)
        for level in prediction.logits
    )
    return Prediction(logits, prediction.embedding)


def _per_channel(values: tuple[float, float, float]) -> Float[Tensor, "1 3 1 1"]:
    return torch.tensor(values).view(1, 3, 1, 1)
