"""The decoder of LinkNet."""

from collections.abc import Sequence
from functools import partial

from jaxtyping import Float
from segmentation_models_pytorch.decoders.linknet import decoder as smp
from torch import Tensor

from hieraseg.types import DropRate, PositiveInt, check_arguments
from hieraseg_plugins.decoders.trunk import Heads, TrunkDecoder, lined_up, used_channels


@check_arguments
class LinkNetDecoder(TrunkDecoder):
    """LinkNet: upsampling blocks to whose output the backbone's stages are added.

    A block is a 1x1 convolution to a quarter of the channels, a transposed 4x4 convolution that
    doubles the size, and a 1x1 convolution to the channels of the next finer stage. A last block
    without a stage doubles the size once more, so that the logits have half of the finest stage's
    stride.

    Source: Chaurasia & Culurciello 2017, arXiv:1707.03718, figures 1 and 2, as in
    segmentation_models_pytorch.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        strides: strides of the feature maps. A first stage of stride 1 is not used. Stages that do
            not double the size are resized.
        num_classes: classes of each level, coarsest first.
        heads: `shared` for one trunk with a 1x1 convolution per level, or `branches` for a trunk
            per level.
        dropout: probability to drop a channel before the 1x1 convolutions.
        width: channels of the last block.
        embedding_channels: channels D of the embedding, which is computed from the last stage; 0
            for none.

    Raises:
        ValueError: a stage has less than 4 channels.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: Sequence[int],
        heads: Heads = "shared",
        dropout: DropRate = 0.0,
        width: PositiveInt = 32,
        embedding_channels: int = 0,
    ) -> None:
        used = used_channels(channels, strides, finest=2)
        if min(used) < 4:
            raise ValueError(
                "a block has a quarter of its stage's channels inside, but the backbone has stages "
                f"of {used} channels; choose one with at least 4 in each, or the decoder unet"
            )
        trunk = partial(_Trunk, used, width)
        super().__init__(trunk, width, used, num_classes, heads, dropout, embedding_channels)


class _Trunk(smp.LinknetDecoder):
    def __init__(self, channels: list[int], width: int) -> None:
        super().__init__(
            encoder_channels=[3, *channels], prefinal_channels=width, n_blocks=len(channels)
        )

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C H W"]:
        return super().forward([None, *lined_up(features)])
