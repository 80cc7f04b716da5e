"""What the decoders over segmentation_models_pytorch share."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from torch import Tensor, nn

from hieraseg import Prediction
from hieraseg_plugins.decoders.projection import ProjectionHead

Heads = Literal["shared", "branches"]


class TrunkDecoder(nn.Module):
    """Trunks, which compute features of one stride from a pyramid, and a 1x1 head per level.

    As in segmentation_models_pytorch, convolutions of a trunk start from He's uniform distribution
    (arXiv:1502.01852), linear layers and heads from Glorot's, and biases from zero.

    Args:
        make_trunk: builds a trunk: the used feature maps, finest first -> `[B, width, h, w]`.
        width: channels of a trunk's features.
        channels: channels of the used feature maps, which are the backbone's last ones.
        num_classes: classes of each level, coarsest first.
        heads: `shared` for one trunk, or `branches` for one per level.
        dropout: probability to drop a channel of a trunk's features.
        embedding_channels: channels D of the embedding, which is computed from the last stage; 0
            for none.
    """

    def __init__(
        self,
        make_trunk: Callable[[], nn.Module],
        width: int,
        channels: Sequence[int],
        num_classes: Sequence[int],
        heads: Heads,
        dropout: float,
        embedding_channels: int,
    ) -> None:
        super().__init__()
        self.stages = len(channels)
        trunks = len(num_classes) if heads == "branches" else 1
        self.trunks = nn.ModuleList(make_trunk() for _ in range(trunks))
        self.dropout = nn.Dropout2d(dropout)
        self.classifiers = nn.ModuleList(nn.Conv2d(width, classes, 1) for classes in num_classes)
        initialize_decoder(self.trunks)
        initialize_head(self.classifiers)
        self.projection = (
            ProjectionHead(channels[-1], embedding_channels) if embedding_channels else None
        )

    def forward(self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> Prediction:
        """Logits of each level at the trunk's stride, and the embedding at the last stage's."""
        used = list(pyramid[-self.stages :])
        features = [self.dropout(trunk(used)) for trunk in self.trunks]
        if len(features) == 1:
            features *= len(self.classifiers)
        logits = tuple(
            classifier(one) for classifier, one in zip(self.classifiers, features, strict=True)
        )
        embedding = None if self.projection is None else self.projection(pyramid[-1])
        return Prediction(logits, embedding)


def used_channels(
    channels: Sequence[int], strides: Sequence[int], finest: int, most: int | None = None
) -> list[int]:
    """Channels of the last stages, which a decoder uses.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        strides: their strides.
        finest: smallest stride of a stage that is used, unless all are finer. As in
            segmentation_models_pytorch, no decoder uses a stage of the image's own size.
        most: largest number of stages; None for all.
    """
    first = next((i for i, stride in enumerate(strides) if power_of_two(stride) >= finest), 0)
    return list(channels)[first if most is None else max(first, len(channels) - most) :]


def block_widths(widths: Sequence[int], stride: int, blocks: int) -> list[int]:
    """Channels of blocks that double the size, the last one to half of the finest stage's stride.

    Args:
        widths: channels of blocks that end at the strides ..., 4, 2 and 1. The first one is also
            that of blocks before.
        stride: the finest stage's stride.
        blocks: number of blocks.
    """
    last = len(widths) - 1 - round(math.log2(max(stride / 2, 1)))
    return [widths[max(last - block, 0)] for block in range(blocks - 1, -1, -1)]


def power_of_two(stride: int) -> int:
    """The power of two that is nearest to a stride."""
    return int(2 ** round(math.log2(stride)))


def nearest_stage(strides: Sequence[int], stride: int) -> int:
    """Index of the stage whose stride is nearest to one, the finest such."""
    return min(range(len(strides)), key=lambda stage: abs(math.log2(strides[stage] / stride)))


def check_attention(attention: str | None, widths: Sequence[int]) -> None:
    """Raise ValueError if there are too few channels for scSE, which has a sixteenth inside."""
    if attention and min(widths) < 16:
        raise ValueError(
            "attention needs at least 16 channels in each stage and block, but one has "
            f"{min(widths)}; choose a wider backbone, increase widths, or set attention to null"
        )


def resized(
    features: Float[Tensor, "B C h w"], size: Sequence[int], align_corners: bool = False
) -> Float[Tensor, "B C H W"]:
    """Features resized bilinearly to (height, width), if they do not have that size."""
    if features.shape[-2:] == tuple(size):
        return features
    return F.interpolate(features, tuple(size), mode="bilinear", align_corners=align_corners)


def lined_up(pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> list[Float[Tensor, "B _ _ _"]]:
    """The feature maps, resized so that each one has twice the size of the next.

    They have that already if the backbone halves the size from stage to stage, and the sides of
    the image are multiples of its last stride.
    """
    halvings = len(pyramid) - 1
    height, width = (-(-side // 2**halvings) for side in pyramid[0].shape[-2:])
    return [
        resized(features, (height << (halvings - stage), width << (halvings - stage)))
        for stage, features in enumerate(pyramid)
    ]
