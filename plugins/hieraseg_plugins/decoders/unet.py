"""The decoder of U-Net."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from jaxtyping import Float
from segmentation_models_pytorch.decoders.unet import decoder as smp
from torch import Tensor, nn

from hieraseg.types import DropRate, NonEmpty, PositiveInt, check_arguments
from hieraseg_plugins.decoders.trunk import (
    Heads,
    TrunkDecoder,
    block_widths,
    check_attention,
    used_channels,
)


@check_arguments
class UnetDecoder(TrunkDecoder):
    """U-Net: upsampling blocks that read the backbone's stages through skip connections.

    A block upsamples to the size of the next finer stage, concatenates that stage, and has two 3x3
    convolutions, each with batch normalization and ReLU. A last block without a skip connection
    doubles the size, so that the logits have half of the finest stage's stride.

    Source: Ronneberger et al. 2015, arXiv:1505.04597, figure 1, as in
    segmentation_models_pytorch; scSE: Roy et al. 2018, arXiv:1808.08127.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        strides: strides of the feature maps. A first stage of stride 1 is not used.
        num_classes: classes of each level, coarsest first.
        heads: `shared` for one trunk with a 1x1 convolution per level, or `branches` for a trunk
            per level.
        dropout: probability to drop a channel before the 1x1 convolutions.
        widths: channels of the blocks that end at the strides 16, 8, 4, 2 and 1 (if there are
            five). The first one is also that of blocks before.
        attention: `scse` for channel and spatial attention in each block, or null for none.
        embedding_channels: channels D of the embedding, which is computed from the last stage; 0
            for none.

    Raises:
        ValueError: with attention, a stage or a block has less than 16 channels.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: Sequence[int],
        heads: Heads = "shared",
        dropout: DropRate = 0.0,
        widths: Annotated[Sequence[PositiveInt], NonEmpty()] = (256, 128, 64, 32, 16),
        attention: Literal["scse"] | None = None,
        embedding_channels: int = 0,
    ) -> None:
        used = used_channels(channels, strides, finest=2)
        own = block_widths(widths, strides[-len(used)], len(used))
        check_attention(attention, [*used, *own])
        trunk = partial(_Trunk, used, own, attention)
        super().__init__(trunk, own[-1], used, num_classes, heads, dropout, embedding_channels)


class _Trunk(smp.UnetDecoder):
    def __init__(self, channels: list[int], widths: list[int], attention: str | None) -> None:
        super().__init__(
            encoder_channels=[3, *channels],
            decoder_channels=widths,
            n_blocks=len(widths),
            attention_type=attention,
        )
        self.blocks[-1].attention1 = nn.Identity()  # not used without a skip connection

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C H W"]:
        height, width = features[0].shape[-2:]
        # The class takes the size of its last block from the image.
        image: Any = features[0].new_empty((0, 0, 2 * height, 2 * width))
        return super().forward([image, *features])
