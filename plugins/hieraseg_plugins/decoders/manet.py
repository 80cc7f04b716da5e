"""The decoder of MA-Net."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from jaxtyping import Float
from segmentation_models_pytorch.decoders.manet import decoder as smp
from torch import Tensor

from hieraseg.types import DropRate, NonEmpty, PositiveInt, check_arguments
from hieraseg_plugins.decoders.trunk import (
    Heads,
    TrunkDecoder,
    block_widths,
    lined_up,
    used_channels,
)


@check_arguments
class MAnetDecoder(TrunkDecoder):
    """MA-Net: a U-Net with attention over positions and over the channels of skip connections.

    Self-attention relates all positions of the last stage to each other: its memory grows with the
    square of their number. Each block weighs its features by squeeze-and-excitation of themselves
    and of the stage that it concatenates. A last block without a skip connection doubles the size,
    so that the logits have half of the finest stage's stride.

    Source: Fan et al. 2020, IEEE Access 8, doi:10.1109/ACCESS.2020.3025372, as in
    segmentation_models_pytorch.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        strides: strides of the feature maps. A first stage of stride 1 is not used. Stages that do
            not double the size are resized.
        num_classes: classes of each level, coarsest first.
        heads: `shared` for one trunk with a 1x1 convolution per level, or `branches` for a trunk
            per level.
        dropout: probability to drop a channel before the 1x1 convolutions.
        widths: channels of the blocks that end at the strides 16, 8, 4, 2 and 1 (if there are
            five). The first one is also that of blocks before.
        reduction: how many times fewer channels squeeze-and-excitation has inside.
        attention_width: channels of the queries and keys of self-attention.
        embedding_channels: channels D of the embedding, which is computed from the last stage; 0
            for none.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: Sequence[int],
        heads: Heads = "shared",
        dropout: DropRate = 0.0,
        widths: Annotated[Sequence[PositiveInt], NonEmpty()] = (256, 128, 64, 32, 16),
        reduction: PositiveInt = 16,
        attention_width: PositiveInt = 64,
        embedding_channels: int = 0,
    ) -> None:
        used = used_channels(channels, strides, finest=2)
        own = block_widths(widths, strides[-len(used)], len(used))
        trunk = partial(_Trunk, used, own, reduction, attention_width)
        super().__init__(trunk, own[-1], used, num_classes, heads, dropout, embedding_channels)


class _Trunk(smp.MAnetDecoder):
    def __init__(
        self, channels: list[int], widths: list[int], reduction: int, attention_width: int
    ) -> None:
        super().__init__(
            encoder_channels=[3, *channels],
            decoder_channels=widths,
            n_blocks=len(widths),
            reduction=reduction,
            pab_channels=attention_width,
        )

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C H W"]:
        return super().forward([None, *lined_up(features)])
