"""The auxiliary head, which only training has: logits of one stage of the backbone."""

from collections.abc import Sequence
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn


class AuxiliaryHead(nn.Module):
    """A 3x3 convolution on a stage of the backbone, followed by a 1x1 classifier per level.

    Batch normalization, ReLU and dropout of whole channels are between them.

    Source: Zhao et al. 2016, arXiv:1612.01105, section 4, who weigh its loss by 0.4. The layers
    are those of mmsegmentation's `FCNHead` with one convolution.

    Args:
        stage: index of the stage, 0 for the finest.
        inputs: channels of the stage.
        num_classes: number of classes of each level that gets logits, coarsest first.
        channels: channels of the 3x3 convolution.
        dropout: probability by which a channel is zero in training.
    """

    def __init__(
        self, stage: int, inputs: int, num_classes: Sequence[int], channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.stage = stage
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        self.classifiers = nn.ModuleList(nn.Conv2d(channels, one, 1) for one in num_classes)

    def forward(
        self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]
    ) -> tuple[Float[Tensor, "B _ h w"], ...]:
        """Logits of each level, at the stride of the stage."""
        features = self.layers(pyramid[self.stage])
        return tuple(cast(Tensor, classifier(features)) for classifier in self.classifiers)
