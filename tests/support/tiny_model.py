"""A plugin file with a backbone of two convolutions, whose operations can be counted by hand."""

import torch
from torch import Tensor, nn

from hieraseg import registry


@registry.backbones.register("two_convolutions")
class TwoConvolutions(nn.Module):
    """A 3x3 convolution of stride 2, and one in 4 groups. Without batch normalization."""

    channels = (4,)
    strides = (2,)
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [torch.relu(self.grouped(self.first(image)))]
