"""The plainest decoder: one classifier per level on the last stage."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from hieraseg import Prediction


class LinearDecoder(nn.Module):
    """A 1x1 convolution per level on the backbone's last stage; answers at its stride.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        num_classes: classes of each level, coarsest first.
    """

    def __init__(self, channels: Sequence[int], num_classes: Sequence[int]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(
            nn.Conv2d(channels[-1], classes, 1) for classes in num_classes
        )

    def forward(self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> Prediction:
        return Prediction(tuple(classifier(pyramid[-1]) for classifier in self.classifiers))
