"""The projection head, for losses that train an embedding."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Projection of features to an embedding of unit length at each pixel.

    A 1x1 convolution that keeps the number of channels, batch normalization, ReLU, a 1x1
    convolution to the channels of the embedding, and L2 normalization.

    Source: Li et al. 2022, arXiv:2203.14335. The released code applies this head to the
    backbone's last stage, with 256 channels of the embedding.

    Args:
        channels: channels of the features.
        embedding_channels: channels D of the embedding.
    """

    def __init__(self, channels: int, embedding_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, embedding_channels, 1),
        )

    def forward(self, features: Float[Tensor, "B _ h w"]) -> Float[Tensor, "B D h w"]:
        """The embedding, in float32."""
        # In half precision, the length would be off by some thousandths.
        return F.normalize(self.layers(features).float(), dim=1)
