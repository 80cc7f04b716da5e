"""The contract of backbones."""

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from hieraseg.testing.component import DEFAULTS, Arguments
from hieraseg.testing.images import SIZES, ImageContract


class BackboneContract(ImageContract):
    """The contract of backbones (see `contracts.Backbone`)."""

    def module(self, arguments: Arguments = DEFAULTS) -> nn.Module:
        return cast(nn.Module, self.build(arguments))

    def outputs(self, module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        return list(module(*inputs))

    def test_attributes_are_valid(self, arguments: Arguments) -> None:
        """`channels`, `strides`, `mean` and `std` are valid, and strides are ascending."""
        module: Any = self.shared_module(arguments)
        for name in ("channels", "strides", "mean", "std"):
            assert hasattr(module, name), f"missing attribute {name!r} (see contracts.Backbone)"
        channels, strides = list(module.channels), list(module.strides)
        for name, numbers in (("channels", channels), ("strides", strides)):
            assert numbers, f"{name} is empty: list one number per feature map, finest first"
            assert all(isinstance(one, int) and one > 0 for one in numbers), (
                f"{name} must be positive ints, got {numbers}"
            )
        assert len(channels) == len(strides), (
            f"channels is {channels}, but strides is {strides}: list one number of each per "
            "feature map"
        )
        assert strides == sorted(strides), f"strides must be ascending, got {strides}"
        self.check_statistics(module)

    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_features_match_channels_and_strides(
        self, arguments: Arguments, size: tuple[int, int]
    ) -> None:
        """Feature maps match `channels` and `strides`, even for odd image sizes."""
        module: Any = self.shared_module(arguments)
        pyramid = self.evaluate(module, [torch.rand(1, 3, *size)])
        assert len(pyramid) == len(module.channels), (
            f"it returns {len(pyramid)} feature maps, but has {len(module.channels)} channels"
        )
        for features, channels, stride in zip(
            pyramid, module.channels, module.strides, strict=True
        ):
            assert features.shape[:2] == (1, channels), (
                f"a feature map is {list(features.shape)}, but its channels are {channels}"
            )
            sides = features.shape[2:]
            # If the stride does not divide a side, the rest may be padded or cropped.
            assert all(
                side // stride <= got <= math.ceil(side / stride)
                for side, got in zip(size, sides, strict=True)
            ), f"an image of {size} gives a feature map of {tuple(sides)} at stride {stride}"
            assert features.isfinite().all(), f"the feature map at stride {stride} is not finite"

    def test_each_parameter_has_a_layer(self, arguments: Arguments) -> None:
        """`layer_of`, if there is one, gives each parameter a layer, and each layer a parameter."""
        module: Any = self.shared_module(arguments)
        if not hasattr(module, "layer_of"):
            pytest.skip("there is no method `layer_of`")
        layers = {name: module.layer_of(name) for name, _ in module.named_parameters()}
        expected = set(range(module.num_layers))
        assert set(layers.values()) == expected, (
            f"num_layers is {module.num_layers}, but the layers of the parameters are "
            f"{sorted(set(layers.values()))}"
        )
