"""The decoder of DeepLabV3+."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from segmentation_models_pytorch.decoders.deeplabv3 import decoder as smp
from torch import Tensor

from hieraseg.types import DropRate, PositiveInt, check_arguments
from hieraseg_plugins.decoders.trunk import Heads, TrunkDecoder, nearest_stage, resized


@check_arguments
class DeepLabV3PlusDecoder(TrunkDecoder):
    """DeepLabV3+: atrous spatial pyramid pooling (ASPP), fused with a finer stage.

    ASPP reads the last stage: a 1x1 convolution, three atrous 3x3 convolutions and global average
    pooling, which a 1x1 convolution fuses. The result is upsampled to the stage whose stride is
    nearest to 4, concatenated with 48 channels of it, and refined by a 3x3 convolution. The logits
    have the stride of that stage.

    Source: Chen et al. 2018, arXiv:1802.02611, section 3 and figure 2, as in
    segmentation_models_pytorch. There, the backbone's last stages are dilated to an output stride
    of 16. Here, backbones keep their strides.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        strides: strides of the feature maps. Stages between the two are not used: those of a plain
            vision transformer, which do not depend on each other, are then not trained, which
            several processes do not support.
        num_classes: classes of each level, coarsest first.
        heads: `shared` for one trunk with a 1x1 convolution per level, or `branches` for a trunk
            per level.
        dropout: probability to drop a channel before the 1x1 convolutions.
        width: channels of ASPP and of the features.
        atrous_rates: rates of the atrous convolutions. 6, 12 and 18 are the paper's for an output
            stride of 16, half of them see the same pixels at 32.
        separable: whether the convolutions of ASPP are depthwise separable.
        aspp_dropout: probability to drop an element of ASPP's result.
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
        atrous_rates: tuple[PositiveInt, PositiveInt, PositiveInt] = (6, 12, 18),
        separable: bool = True,
        aspp_dropout: DropRate = 0.5,
        embedding_channels: int = 0,
    ) -> None:
        finer = nearest_stage(strides, 4)
        trunk = partial(_Trunk, channels, finer, width, atrous_rates, separable, aspp_dropout)
        super().__init__(trunk, width, channels, num_classes, heads, dropout, embedding_channels)


class _Trunk(smp.DeepLabV3PlusDecoder):
    def __init__(
        self,
        channels: Sequence[int],
        finer: int,
        width: int,
        atrous_rates: tuple[int, int, int],
        separable: bool,
        aspp_dropout: float,
    ) -> None:
        super().__init__(
            encoder_channels=[3, 0, channels[finer], channels[-1]],
            encoder_depth=3,
            out_channels=width,
            atrous_rates=atrous_rates,
            output_stride=16,
            aspp_separable=separable,
            aspp_dropout=aspp_dropout,
        )
        self.finer = finer

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C H W"]:
        """As in the class, which upsamples only by 2 and 4."""
        finer = self.block1(features[self.finer])
        context = resized(self.aspp(features[-1]), finer.shape[-2:], align_corners=True)
        return self.block2(torch.cat([context, finer], dim=1))
