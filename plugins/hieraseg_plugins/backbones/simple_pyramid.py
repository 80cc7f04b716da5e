"""A feature pyramid from the feature maps of a plain vision transformer."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from timm.layers import LayerNorm2d
from torch import Tensor, nn

_SCALES = (4.0, 2.0, 1.0, 0.5)


class SimplePyramid(nn.Module):
    """The simple feature pyramid of ViTDet (Li et al. 2022, arXiv:2203.16527).

    Each feature map has a branch: transposed convolutions or max pooling, then a 1x1 and a 3x3
    convolution with layer normalization. Where the patch size is no power of two, as in DINOv2,
    the maps are resized to the strides of the nearest one.

    Args:
        channels: channels of the transformer's feature maps: one that all branches read, or one per
            branch.
        patch: input pixels per pixel of them.
        width: channels of the pyramid.

    Attributes:
        channels: channels of its feature maps, finest first.
        strides: their strides: 4, 8, 16 and 32 for patches of 14 or 16 pixels.
    """

    def __init__(self, channels: Sequence[int], patch: int, width: int = 256) -> None:
        super().__init__()
        nearest = 2 ** round(math.log2(patch))
        self.strides = [int(nearest / scale) for scale in _SCALES]
        self.channels = [width] * len(_SCALES)
        self.factor = patch / nearest
        inputs = [*channels] * (len(_SCALES) // len(channels))
        self.scaled = nn.ModuleList(map(_scaled, inputs, _SCALES))
        self.projected = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(int(one / max(scale, 1)), width, 1, bias=False),
                LayerNorm2d(width),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                LayerNorm2d(width),
            )
            for one, scale in zip(inputs, _SCALES, strict=True)
        )

    def forward(
        self, features: Sequence[Float[Tensor, "B _ h w"]]
    ) -> list[Float[Tensor, "B _ _ _"]]:
        maps = [*features] * (len(_SCALES) // len(features))
        pyramid = []
        for one, scale, scaled, projected in zip(
            maps, _SCALES, self.scaled, self.projected, strict=True
        ):
            resized = scaled(one)
            if self.factor != 1:
                sides = [math.ceil(side * scale * self.factor) for side in one.shape[-2:]]
                resized = F.interpolate(resized, sides, mode="bilinear", align_corners=False)
            pyramid.append(projected(resized))
        return pyramid


def _scaled(channels: int, scale: float) -> nn.Sequential:
    """Layers that resize a feature map; each that doubles its sides halves the channels."""
    if scale == 4:
        return nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 2, 2, 2),
            LayerNorm2d(channels // 2),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 2, channels // 4, 2, 2),
        )
    if scale == 2:
        return nn.Sequential(nn.ConvTranspose2d(channels, channels // 2, 2, 2))
    return nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)) if scale < 1 else nn.Sequential()
