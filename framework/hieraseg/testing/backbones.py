"""What every backbone has to offer."""

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from hieraseg.recipe.arguments import arguments_of
from hieraseg.testing.component import DEFAULTS, Arguments
from hieraseg.testing.modules import ModuleContract

SIZE = (32, 64)
SIZES = (SIZE, (65, 33), (97, 128))
"""Height and width of images."""


class BackboneContract(ModuleContract):
    """What every backbone has to offer (see `contracts.Backbone`)."""

    def module(self, arguments: Arguments = DEFAULTS) -> nn.Module:
        return cast(nn.Module, self.build(arguments))

    def inputs(self, batch: int = 2) -> list[Tensor]:
        generator = torch.Generator().manual_seed(2)
        return [torch.randn(batch, 3, *SIZE, generator=generator)]

    def answer(self, module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        return list(module(*inputs))

    def test_it_says_its_channels_strides_and_statistics(self, arguments: Arguments) -> None:
        """It has channels and ascending strides of each feature map, and mean and std of RGB."""
        module: Any = self.shared(arguments)
        for name in ("channels", "strides", "mean", "std"):
            assert hasattr(module, name), f"it has no attribute {name!r} (see contracts.Backbone)"
        channels, strides = list(module.channels), list(module.strides)
        for name, numbers in (("channels", channels), ("strides", strides)):
            assert numbers, f"{name} is empty: give one number per feature map, finest first"
            assert all(isinstance(one, int) and one > 0 for one in numbers), (
                f"{name} is {numbers}: give positive ints"
            )
        assert len(channels) == len(strides), (
            f"channels is {channels}, but strides {strides}: give one of each per feature map"
        )
        assert strides == sorted(strides), f"strides is {strides}: the finest comes first"
        for name, numbers in (("mean", module.mean), ("std", module.std)):
            assert len(numbers) == 3, f"{name} is {numbers}: give three numbers, of R, G and B"
            assert all(0 <= one <= 1 for one in numbers), (
                f"{name} is {numbers}: give it of images in 0..1, not in 0..255"
            )
        assert all(one > 0 for one in module.std), f"std is {module.std}: it divides the image"

    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_channels_and_strides_are_truthful(
        self, arguments: Arguments, size: tuple[int, int]
    ) -> None:
        """Feature maps have the channels and strides that it says, also of odd images."""
        module: Any = self.shared(arguments)
        pyramid = self.quiet(module, [torch.rand(1, 3, *size)])
        assert len(pyramid) == len(module.channels), (
            f"it answers {len(pyramid)} feature maps, but has {len(module.channels)} channels"
        )
        for features, channels, stride in zip(
            pyramid, module.channels, module.strides, strict=True
        ):
            assert features.shape[:2] == (1, channels), (
                f"a feature map is {list(features.shape)}, but its channels are {channels}"
            )
            sides = features.shape[2:]
            # A side that the stride does not divide may be padded or cut off.
            assert all(
                side // stride <= got <= math.ceil(side / stride)
                for side, got in zip(size, sides, strict=True)
            ), f"an image of {size} gives a feature map of {tuple(sides)} at stride {stride}"
            assert features.isfinite().all(), f"the feature map at stride {stride} is not finite"

    def test_it_can_be_built_without_its_weights(self) -> None:
        """Where it has an argument `weights`, null is allowed: a checkpoint follows then."""
        weights = arguments_of(self.component, self.kind().supplied).get("weights")
        if weights is None:
            pytest.skip("it has no argument `weights`")
        try:
            weights.read(None)
        except ValueError as error:
            raise AssertionError(
                f"weights does not take null ({error}): type it as `... | None`, where None "
                "stands for random weights"
            ) from None
        self.build({**self.settings[0], "weights": None})
