"""The decoder of feature pyramid networks for semantic segmentation."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from jaxtyping import Float
from segmentation_models_pytorch.decoders.fpn import decoder as smp
from torch import Tensor

from hieraseg.types import ArgumentError, DropRate, PositiveInt, check_arguments
from hieraseg_plugins.decoders.trunk import Heads, TrunkDecoder, lined_up, used_channels

_STAGES = 4
_GROUPS = 32


@check_arguments
class FPNDecoder(TrunkDecoder):
    """Semantic FPN: a top-down pathway with lateral connections, merged at its finest level.

    A 1x1 convolution brings each of four stages to the same channels, and the upsampled sum of the
    coarser ones is added. Blocks of a 3x3 convolution, group normalization, ReLU and upsampling
    bring each sum to the finest of these stages. The logits have its stride. A backbone with fewer
    stages has its last one repeated at half the size, as in the level P6 of the paper.

    Source: Lin et al. 2017, arXiv:1612.03144, section 3, and Kirillov et al. 2019,
    arXiv:1901.02446, section 3.1, as in segmentation_models_pytorch.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        strides: strides of the feature maps. Of those from 4 on, the last four stages are used, and
            resized if they do not double the size.
        num_classes: classes of each level, coarsest first.
        heads: `shared` for one trunk with a 1x1 convolution per level, or `branches` for a trunk
            per level.
        dropout: probability to drop a channel before the 1x1 convolutions.
        pyramid_width: channels of the top-down pathway.
        width: channels of the upsampled levels, a multiple of 32.
        merge: `add` to add up the upsampled levels, or `cat` to concatenate them.
        embedding_channels: channels D of the embedding, which is computed from the last stage; 0
            for none.

    Raises:
        ValueError: `width` is not a multiple of 32.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: Sequence[int],
        heads: Heads = "shared",
        dropout: DropRate = 0.1,
        pyramid_width: PositiveInt = 256,
        width: PositiveInt = 128,
        merge: Literal["add", "cat"] = "add",
        embedding_channels: int = 0,
    ) -> None:
        if width % _GROUPS:
            raise ArgumentError(
                "width",
                f"must be a multiple of {_GROUPS}, the groups of its normalization, got {width}",
            )
        used = used_channels(channels, strides, finest=4, most=_STAGES)
        trunk = partial(_Trunk, used, pyramid_width, width, merge)
        merged = width if merge == "add" else _STAGES * width
        super().__init__(trunk, merged, used, num_classes, heads, dropout, embedding_channels)


class _Trunk(smp.FPNDecoder):
    def __init__(self, channels: list[int], pyramid_width: int, width: int, merge: str) -> None:
        missing = _STAGES - len(channels)
        super().__init__(
            encoder_channels=[*channels, *missing * channels[-1:]],
            pyramid_channels=pyramid_width,
            segmentation_channels=width,
            dropout=0.0,  # before the heads instead
            merge_policy=merge,
        )

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C H W"]:
        missing = _STAGES - len(features)
        return super().forward(lined_up([*features, *missing * features[-1:]]))
