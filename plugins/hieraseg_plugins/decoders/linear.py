"""The linear decoder: one classifier per level on the last stage."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from hieraseg import Prediction
from hieraseg_plugins.decoders.projection import ProjectionHead


class LinearDecoder(nn.Module):
    """A 1x1 convolution per level on the backbone's last stage, at that stage's stride.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        num_classes: classes of each level, coarsest first.
        embedding_channels: channels D of the embedding, which has the same stride; 0 for none.
    """

    def __init__(
        self, channels: Sequence[int], num_classes: Sequence[int], embedding_channels: int = 0
    ) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(
            nn.Conv2d(channels[-1], classes, 1) for classes in num_classes
        )
        self.projection = (
            ProjectionHead(channels[-1], embedding_channels) if embedding_channels else None
        )

    def forward(self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> Prediction:
        """Logits of each level, and the embedding if there is one, at the last stage's stride."""
        logits = tuple(classifier(pyramid[-1]) for classifier in self.classifiers)
        embedding = None if self.projection is None else self.projection(pyramid[-1])
        return Prediction(logits, embedding)
