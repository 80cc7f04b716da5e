"""The decoder of UPerNet."""

from collections.abc import Sequence
from functools import partial

from jaxtyping import Float
from segmentation_models_pytorch.decoders.upernet import decoder as smp
from torch import Tensor

from hieraseg.types import DropRate, PositiveInt, check_arguments
from hieraseg_plugins.decoders.trunk import Heads, TrunkDecoder, used_channels


@check_arguments
class UPerNetDecoder(TrunkDecoder):
    """UPerNet: pyramid pooling of the last stage, and a feature pyramid network.

    Four stages are normalized. Pyramid pooling reads the last one. Each finer one gets a 1x1
    convolution, to which the upsampled sum of the coarser ones is added, and a 3x3 convolution.
    All are resized to the finest of these stages, concatenated and fused by a 3x3 convolution. The
    logits have its stride.

    Source: Xiao et al. 2018, arXiv:1807.10221, figure 4, as in segmentation_models_pytorch.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        strides: strides of the feature maps. Of those from 4 on, the last four stages are used.
        num_classes: classes of each level, coarsest first.
        heads: `shared` for one trunk with a 1x1 convolution per level, or `branches` for a trunk
            per level.
        dropout: probability to drop a channel before the 1x1 convolutions.
        width: channels of all layers.
        embedding_channels: channels D of the embedding, which is computed from the last stage; 0
            for none.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: Sequence[int],
        heads: Heads = "shared",
        dropout: DropRate = 0.1,
        width: PositiveInt = 256,
        embedding_channels: int = 0,
    ) -> None:
        used = used_channels(channels, strides, finest=4, most=4)
        trunk = partial(_Trunk, used, width)
        super().__init__(trunk, width, used, num_classes, heads, dropout, embedding_channels)


class _Trunk(smp.UPerNetDecoder):
    def __init__(self, channels: list[int], width: int) -> None:
        super().__init__(encoder_channels=[3, 0, *channels], decoder_channels=width)

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C H W"]:
        return super().forward([None, None, *features])
