"""The contract of decoders."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, cast

import pytest
import torch
from torch import Tensor, nn

from hieraseg.contracts import Prediction
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.testing.component import DEFAULTS, Arguments
from hieraseg.testing.predictions import EMBEDDING, PredictionContract, as_prediction

ODD_SIZE = (65, 97)


class Pyramid(NamedTuple):
    """Channels and strides of feature maps, finest first, and height and width of the image."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    size: tuple[int, int] = ODD_SIZE

    def aligned(self) -> "Pyramid":
        """The pyramid of an image whose sides are multiples of all strides."""
        multiple = math.lcm(*self.strides)
        return self._replace(size=(2 * multiple, 3 * multiple))

    def features(self, batch: int) -> list[Tensor]:
        """Random feature maps."""
        generator = torch.Generator().manual_seed(2)
        return [
            torch.randn(
                batch, channels, *(-(-side // stride) for side in self.size), generator=generator
            )
            for channels, stride in zip(self.channels, self.strides, strict=True)
        ]


PYRAMIDS: Mapping[str, Pyramid] = {
    "three stages": Pyramid((8, 16, 24), (4, 8, 16)),
    "one stage": Pyramid((8,), (16,)),
    "four stages": Pyramid((8, 12, 16, 20), (4, 8, 16, 32)),
    "five stages": Pyramid((4, 8, 8, 12, 16), (2, 4, 8, 16, 32)),
}


class DecoderContract(PredictionContract):
    """The contract of decoders (see `contracts.Decoder`).

    A decoder may refuse a pyramid, but not all of them, by a ValueError when it is built.

    Attributes:
        pyramids: feature pyramids by name. Tests that need only one pyramid use the first one that
            the decoder does not refuse.
    """

    pyramids: ClassVar[Mapping[str, Pyramid]] = PYRAMIDS
    _refusals: ClassVar[dict[str, str]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._refusals = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Also parametrize tests that have a parameter `pyramid`."""
        super().pytest_generate_tests(metafunc)
        if "pyramid" in metafunc.fixturenames:
            pyramids = self.pyramids
            metafunc.parametrize("pyramid", list(pyramids.values()), ids=list(pyramids))

    def supplied(
        self,
        pyramid: Pyramid | None = None,
        hierarchy: Hierarchy | None = None,
        leaves_only: bool = False,
        embedding_channels: int = 0,
    ) -> dict[str, Any]:
        """Arguments that the runner supplies, by default for the main tree."""
        pyramid = pyramid or self.accepted_pyramid()
        hierarchy = hierarchy or self.hierarchy
        classes = hierarchy.num_classes[-1:] if leaves_only else hierarchy.num_classes
        return {
            "channels": list(pyramid.channels),
            "strides": list(pyramid.strides),
            "num_classes": list(classes),
            "hierarchy": hierarchy,
            "embedding_channels": embedding_channels,
        }

    def make(
        self,
        arguments: Arguments = DEFAULTS,
        pyramid: Pyramid | None = None,
        hierarchy: Hierarchy | None = None,
        leaves_only: bool = False,
        embedding_channels: int = 0,
    ) -> nn.Module:
        """Build a decoder (see `supplied` for the defaults).

        Skips the test if the decoder refuses the pyramid.
        """
        if pyramid is not None and (refusal := self.refusal(arguments, pyramid)):
            pytest.skip(refusal)
        pyramid = pyramid or self.accepted_pyramid(arguments)
        supplied = self.supplied(pyramid, hierarchy, leaves_only, embedding_channels)
        return cast(nn.Module, self.build(arguments, **supplied))

    def refusal(self, arguments: Arguments, pyramid: Pyramid) -> str:
        """Why the decoder refuses a pyramid by a ValueError; empty if it does not."""
        key = repr((arguments, pyramid))
        if key not in self._refusals:
            self._refusals[key] = ""
            try:
                self.build(arguments, **self.supplied(pyramid))
            except RecipeError as error:
                if not isinstance(error.__cause__, ValueError):
                    raise
                self._refusals[key] = str(error)
        return self._refusals[key]

    def accepted_pyramid(self, arguments: Arguments | None = None) -> Pyramid:
        """The first pyramid that the decoder does not refuse."""
        arguments = self.settings[0] if arguments is None else arguments
        refusals = {}
        for name, pyramid in self.pyramids.items():
            refusals[name] = self.refusal(arguments, pyramid)
            if not refusals[name]:
                return pyramid
        listed = "; ".join(f"{name}: {refusal}" for name, refusal in refusals.items())
        raise AssertionError(
            f"it refuses every feature pyramid ({listed}): accept one of them, or name a backbone "
            "that it fits, as in `--backbone resnet50`"
        )

    def module(self, arguments: Arguments = DEFAULTS) -> nn.Module:
        return self.make(arguments, embedding_channels=self.embedding_channels)

    def inputs(self, batch: int = 2) -> list[Tensor]:
        return self.accepted_pyramid().aligned().features(batch)

    def predict(self, module: nn.Module, inputs: list[Tensor]) -> Prediction:
        return as_prediction(module(inputs))

    def test_logits_match_num_classes(self, arguments: Arguments, pyramid: Pyramid) -> None:
        """There is one logit map per level with its classes, even for odd image sizes."""
        decoder = self.make(arguments, pyramid)
        self.check_logits(decoder, pyramid.features(2), self.hierarchy.num_classes)

    def test_logits_match_every_tree(self, tree: Hierarchy) -> None:
        """Logits match trees of every shape, from one class to six levels."""
        pyramid = self.accepted_pyramid().aligned()
        decoder = self.make(self.settings[0], pyramid, hierarchy=tree)
        self.check_logits(decoder, pyramid.features(2), tree.num_classes)

    def test_logits_of_leaves_only(self, arguments: Arguments, pyramid: Pyramid) -> None:
        """If `num_classes` has only the leaves, there are logits only for the leaves."""
        decoder = self.make(arguments, pyramid, leaves_only=True)
        features = pyramid.aligned().features(2)
        self.check_logits(decoder, features, self.hierarchy.num_classes[-1:])

    def test_embedding_has_the_requested_channels(self, pyramid: Pyramid) -> None:
        """A decoder with an argument `embedding_channels` returns an embedding of that size."""
        if not self.embedding_channels:
            pytest.skip("there is no argument `embedding_channels`, so it returns no embedding")
        decoder = self.make(self.settings[0], pyramid, embedding_channels=EMBEDDING)
        self.check_embedding(decoder, pyramid.aligned().features(2))
