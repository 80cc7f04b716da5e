"""The coarse-to-fine model: each level is conditioned on the coarser one."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hieraseg import Prediction
from hieraseg.contracts import Backbone
from hieraseg.types import PositiveInt, check_arguments
from hieraseg_plugins.decoders.projection import ProjectionHead


@check_arguments
class CoarseToFine(nn.Module):
    """A chain of heads, each of which also sees the class probabilities of the coarser level.

    The backbone's stages are fused from the last to the finest: a 1x1 convolution projects each one
    to `width` channels, and the upsampled sum of the coarser stages is added (as in FPN, Lin et al.
    2016, arXiv:1612.03144), followed by a 3x3 convolution with batch normalization and ReLU. The
    head of the coarsest level reads these features, that of each other level these features
    concatenated with the softmax of the logits one level above: a 3x3 convolution with batch
    normalization and ReLU, and a 1x1 convolution.

    Source: auto-context (Tu & Bai 2010, IEEE TPAMI 32(10)), where a classifier of pixels reads the
    class probabilities of the one before, here with one classifier per level of the tree instead of
    one per iteration. As there, no gradient flows through the probabilities, so that a level is
    trained by its own targets alone.

    Args:
        backbone: the backbone.
        num_classes: classes of each level, coarsest first.
        width: channels of the fused features and of the heads.
        embedding_channels: channels D of the embedding, which is computed from the last stage; 0
            for none.

    Raises:
        ValueError: `width` is not positive.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: Sequence[int],
        width: PositiveInt = 128,
        embedding_channels: int = 0,
    ) -> None:
        super().__init__()
        self.mean, self.std = backbone.mean, backbone.std
        self.stride = max(backbone.strides)
        self.backbone = cast(nn.Module, backbone)
        self.laterals = nn.ModuleList(nn.Conv2d(one, width, 1) for one in backbone.channels)
        self.fuse = _block(width, width)
        self.heads = nn.ModuleList(
            nn.Sequential(_block(width + coarser, width), nn.Conv2d(width, classes, 1))
            for coarser, classes in zip([0, *num_classes], num_classes, strict=False)
        )
        self.projection = (
            ProjectionHead(backbone.channels[-1], embedding_channels)
            if embedding_channels
            else None
        )

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Logits of each level at the finest stage's stride, and the embedding if there is one."""
        pyramid: Sequence[Tensor] = self.backbone(image)
        features = self._fused(pyramid)
        logits = [self.heads[0](features)]
        for head in list(self.heads)[1:]:
            coarser = logits[-1].detach().float().softmax(1).to(features.dtype)
            logits.append(head(torch.cat((features, coarser), 1)))
        embedding = None if self.projection is None else self.projection(pyramid[-1])
        return Prediction(tuple(logits), embedding)

    def _fused(self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B width h w"]:
        """One feature map of all stages, at the finest stage's stride."""
        fused = self.laterals[-1](pyramid[-1])
        for stage in range(len(pyramid) - 2, -1, -1):
            skip = self.laterals[stage](pyramid[stage])
            fused = skip + F.interpolate(fused, skip.shape[-2:], mode="bilinear")
        return cast(Tensor, self.fuse(fused))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
