"""The skip decoder: one branch of upsampling blocks per level."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hieraseg import Prediction
from hieraseg.types import Range, check_arguments
from hieraseg_plugins.decoders.projection import ProjectionHead


@check_arguments
class SkipDecoder(nn.Module):
    """One branch of upsampling blocks with skip connections per level.

    The branch of the finest level ends at the backbone's finest stage, the branch of each coarser
    level one stage earlier, but not before the last stage. A block is two 3x3 convolutions, each
    with batch normalization and ReLU. The first block reads the last stage. Each further block
    reads the upsampled output of the previous block, concatenated with the next finer stage. A
    1x1 convolution classifies.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        num_classes: classes of each level, coarsest first.
        width: channels of a branch's first blocks, at least 4. The last two of three or more
            blocks have a half and a quarter of it, the second of two blocks has a half.
        embedding_channels: channels D of the embedding, which is computed from the last stage; 0
            for none.

    Raises:
        ValueError: `width` is below 4.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: Sequence[int],
        width: Annotated[int, Range(ge=4)] = 256,
        embedding_channels: int = 0,
    ) -> None:
        super().__init__()
        earlier = range(len(num_classes) - 1, -1, -1)
        self.branches = nn.ModuleList(
            _Branch(channels, max(len(channels) - stages, 1), classes, width)
            for stages, classes in zip(earlier, num_classes, strict=True)
        )
        self.projection = (
            ProjectionHead(channels[-1], embedding_channels) if embedding_channels else None
        )

    def forward(self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> Prediction:
        """Logits of each level, at the stride at which its branch ends."""
        logits = tuple(branch(pyramid) for branch in self.branches)
        embedding = None if self.projection is None else self.projection(pyramid[-1])
        return Prediction(logits, embedding)


class _Branch(nn.Module):
    def __init__(self, channels: Sequence[int], blocks: int, classes: int, width: int) -> None:
        super().__init__()
        widths = ([width] * (blocks - 3) + [width, width // 2, width // 4])[:blocks]
        deepest_first = list(channels)[::-1]
        inputs = [deepest_first[0]]
        inputs += [
            own + skip for own, skip in zip(widths[:-1], deepest_first[1:blocks], strict=True)
        ]
        self.blocks = nn.ModuleList(map(_block, inputs, widths))
        self.classifier = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C _ _"]:
        features = self.blocks[0](pyramid[-1])
        for block, skip in zip(self.blocks[1:], pyramid[-2::-1], strict=False):
            features = F.interpolate(features, skip.shape[-2:], mode="bilinear", align_corners=True)
            features = block(torch.cat((features, skip), dim=1))
        return self.classifier(features)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
