"""The decoder of PAN."""

from collections.abc import Sequence
from functools import partial

from jaxtyping import Float
from segmentation_models_pytorch.decoders.pan import decoder as smp
from torch import Tensor

from hieraseg.types import DropRate, PositiveInt, check_arguments
from hieraseg_plugins.decoders.trunk import Heads, TrunkDecoder, resized, used_channels

_SMALLEST = 8


@check_arguments
class PANDecoder(TrunkDecoder):
    """PAN: feature pyramid attention on the last stage, and global attention upsampling.

    Feature pyramid attention weighs the last stage by features of a half, a quarter and an eighth
    of its size; a map of less than 8 x 8 is enlarged to that before. Global attention upsampling
    then adds each finer one of four stages, weighted by pooled features. The logits have the stride
    of the finest of these stages.

    Source: Li et al. 2018, arXiv:1805.10180, sections 3.1 and 3.2, as in
    segmentation_models_pytorch. There, the backbone's last stage is dilated to an output stride of
    16. Here, backbones keep their strides.

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
        width: PositiveInt = 32,
        embedding_channels: int = 0,
    ) -> None:
        used = used_channels(channels, strides, finest=4, most=4)
        trunk = partial(_Trunk, used, width)
        super().__init__(trunk, width, used, num_classes, heads, dropout, embedding_channels)


class _Trunk(smp.PANDecoder):
    def __init__(self, channels: list[int], width: int) -> None:
        # The class has at least one upsampling, which then reads the only stage, too.
        finer = channels[:-1] or channels
        super().__init__(
            encoder_channels=[3, 0, *finer, channels[-1]],
            encoder_depth=len(finer) + 2,
            decoder_channels=width,
        )

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C H W"]:
        height, width = features[-1].shape[-2:]
        last = resized(features[-1], (max(height, _SMALLEST), max(width, _SMALLEST)))
        return super().forward([None, None, *(features[:-1] or features), last])
