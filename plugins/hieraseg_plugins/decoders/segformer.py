"""The decoder of SegFormer."""

from collections.abc import Sequence
from functools import partial

from jaxtyping import Float
from segmentation_models_pytorch.decoders.segformer import decoder as smp
from torch import Tensor

from hieraseg.types import DropRate, PositiveInt, check_arguments
from hieraseg_plugins.decoders.trunk import Heads, TrunkDecoder, used_channels


@check_arguments
class SegFormerDecoder(TrunkDecoder):
    """SegFormer: each stage projected and resized, and all fused by a 1x1 convolution.

    The logits have the finest stage's stride, but not less than 4.

    Source: Xie et al. 2021, arXiv:2105.15203, equation 4, as in segmentation_models_pytorch.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        strides: strides of the feature maps. A first stage of stride 1 is not used.
        num_classes: classes of each level, coarsest first.
        heads: `shared` for one trunk with a 1x1 convolution per level, or `branches` for a trunk
            per level.
        dropout: probability to drop a channel before the 1x1 convolutions.
        width: channels of the projections and of the fused features.
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
        used = used_channels(channels, strides, finest=2)
        trunk = partial(_Trunk, used, min(strides[-len(used)], 4), width)
        super().__init__(trunk, width, used, num_classes, heads, dropout, embedding_channels)


class _Trunk(smp.SegformerDecoder):
    def __init__(self, channels: list[int], stride: int, width: int) -> None:
        super().__init__(encoder_channels=[3, *channels], segmentation_channels=width)
        self.stride = stride

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C H W"]:
        height, width = (self.stride * side for side in features[0].shape[-2:])
        # The class resizes all stages to a quarter of the image.
        image = features[0].new_empty((0, 0, height, width))
        return super().forward([image, *features])
