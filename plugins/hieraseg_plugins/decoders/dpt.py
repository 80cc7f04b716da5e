"""The decoder of DPT."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from jaxtyping import Float
from segmentation_models_pytorch.base.modules import Conv2dReLU
from segmentation_models_pytorch.decoders.dpt import decoder as smp
from torch import Tensor

from hieraseg.types import DropRate, NonEmpty, PositiveInt, check_arguments
from hieraseg_plugins.decoders.trunk import (
    Heads,
    TrunkDecoder,
    power_of_two,
    resized,
    used_channels,
)


@check_arguments
class DPTDecoder(TrunkDecoder):
    """DPT: stages reassembled at the strides 4, 8, 16 and 32, and fused from the last to the first.

    Each of four stages, of whatever stride, is projected and brought to its stride by a
    transposed or a strided convolution: those of a vision transformer, which all have one stride,
    become a pyramid, and those that are one stay so. Fusion blocks of two residual units add the
    stages up and double the size, and a 3x3 convolution follows. The logits have a stride of 2.

    Source: Ranftl et al. 2021, arXiv:2103.13413, sections 3.1 and 3.3, as in
    segmentation_models_pytorch, with the readout "ignore": feature maps have no class token.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        strides: strides of the feature maps. Of those from 4 on, the last four stages are used.
        num_classes: classes of each level, coarsest first.
        heads: `shared` for one trunk with a 1x1 convolution per level, or `branches` for a trunk
            per level.
        dropout: probability to drop a channel before the 1x1 convolutions.
        widths: channels to which the stages are projected, finest first. The last one is also that
            of stages for which there is none.
        width: channels of the fusion blocks.
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
        widths: Annotated[Sequence[PositiveInt], NonEmpty()] = (256, 512, 1024, 1024),
        width: PositiveInt = 256,
        embedding_channels: int = 0,
    ) -> None:
        used = used_channels(channels, strides, finest=4, most=4)
        own = [widths[min(stage, len(widths) - 1)] for stage in range(len(used))]
        trunk = partial(_Trunk, used, list(map(power_of_two, strides[-len(used) :])), own, width)
        super().__init__(trunk, width, used, num_classes, heads, dropout, embedding_channels)


class _Trunk(smp.DPTDecoder):
    def __init__(
        self, channels: list[int], strides: list[int], widths: list[int], width: int
    ) -> None:
        super().__init__(
            encoder_out_channels=channels,
            encoder_output_strides=strides,
            encoder_has_prefix_tokens=False,
            readout="ignore",
            intermediate_channels=widths,
            fusion_channels=width,
        )
        # The first layers of the class's segmentation head.
        self.smooth = Conv2dReLU(width, width, kernel_size=3, padding=1)

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C H W"]:
        """As in the class, but for sizes that need not line up."""
        stages = [
            reassemble(one)
            for reassemble, one in zip(self.reassemble_blocks, features, strict=True)
        ]
        fused = None
        for fuse, stage in zip(self.fusion_blocks, stages[::-1], strict=True):
            fused = fuse(stage, None if fused is None else resized(fused, stage.shape[-2:]))
        return self.smooth(fused)
