"""What every decoder has to offer."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, cast

import pytest
import torch
from torch import Tensor, nn

from hieraseg.contracts import Prediction, asks_for
from hieraseg.hierarchy import Hierarchy
from hieraseg.testing.component import DEFAULTS, Arguments, TreeContract
from hieraseg.testing.modules import ModuleContract

EMBEDDING = 6
SIZE = (65, 97)
"""Height and width of the image that a pyramid is of."""


class Pyramid(NamedTuple):
    """Feature maps, finest first."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def features(self, batch: int) -> list[Tensor]:
        """Random feature maps of an image of odd size."""
        generator = torch.Generator().manual_seed(2)
        return [
            torch.randn(
                batch, channels, *(-(-side // stride) for side in SIZE), generator=generator
            )
            for channels, stride in zip(self.channels, self.strides, strict=True)
        ]


PYRAMIDS: Mapping[str, Pyramid] = {
    "three stages": Pyramid((8, 16, 24), (4, 8, 16)),
    "one stage": Pyramid((8,), (16,)),
    "four stages": Pyramid((8, 12, 16, 20), (4, 8, 16, 32)),
    "five stages": Pyramid((4, 8, 8, 12, 16), (2, 4, 8, 16, 32)),
}


class DecoderContract(ModuleContract, TreeContract):
    """What every decoder has to offer (see `contracts.Decoder`).

    Attributes:
        pyramids: by name, feature pyramids that it has to decode; the first one is used where
            one is enough.
    """

    pyramids: ClassVar[Mapping[str, Pyramid]] = PYRAMIDS

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One case for each pyramid too, where a test asks for `pyramid`."""
        super().pytest_generate_tests(metafunc)
        if "pyramid" in metafunc.fixturenames:
            pyramids = self.pyramids
            metafunc.parametrize("pyramid", list(pyramids.values()), ids=list(pyramids))

    def make(
        self,
        arguments: Arguments = DEFAULTS,
        pyramid: Pyramid | None = None,
        hierarchy: Hierarchy | None = None,
        leaves_only: bool = False,
        embedding_channels: int = 0,
    ) -> nn.Module:
        """A decoder as a run builds it, of the first pyramid and the main tree if not told."""
        pyramid = pyramid or next(iter(self.pyramids.values()))
        hierarchy = hierarchy or self.hierarchy
        classes = hierarchy.num_classes[-1:] if leaves_only else hierarchy.num_classes
        built = self.build(
            arguments,
            channels=list(pyramid.channels),
            strides=list(pyramid.strides),
            num_classes=list(classes),
            hierarchy=hierarchy,
            embedding_channels=embedding_channels,
        )
        return cast(nn.Module, built)

    @property
    def embedding_channels(self) -> int:
        """D of the embedding to ask for: 0 of a decoder that offers none."""
        return EMBEDDING if asks_for(self.component, "embedding_channels") else 0

    def module(self, arguments: Arguments = DEFAULTS) -> nn.Module:
        return self.make(arguments, embedding_channels=self.embedding_channels)

    def inputs(self, batch: int = 2) -> list[Tensor]:
        return next(iter(self.pyramids.values())).features(batch)

    def answer(self, module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        prediction = module(inputs)
        assert isinstance(prediction, Prediction), (
            f"forward returns a {type(prediction).__name__}: return a `hieraseg.Prediction`"
        )
        embedding = [] if prediction.embedding is None else [prediction.embedding]
        return [*prediction.logits, *embedding]

    def test_logits_are_those_of_every_level(self, arguments: Arguments, pyramid: Pyramid) -> None:
        """Logits are one map per level with its classes, from pyramids of one stage to five."""
        decoder = self.make(arguments, pyramid)
        self.check_logits(decoder, pyramid, self.hierarchy.num_classes)

    def test_logits_are_those_of_every_tree(self, tree: Hierarchy) -> None:
        """Logits fit trees of every shape, from one class to six levels."""
        pyramid = next(iter(self.pyramids.values()))
        decoder = self.make(self.settings[0], hierarchy=tree)
        self.check_logits(decoder, pyramid, tree.num_classes)

    def test_logits_of_the_leaves_alone(self, arguments: Arguments, pyramid: Pyramid) -> None:
        """Asked for the classes of the leaves alone, it answers these alone."""
        decoder = self.make(arguments, pyramid, leaves_only=True)
        self.check_logits(decoder, pyramid, self.hierarchy.num_classes[-1:])

    def check_logits(self, decoder: nn.Module, pyramid: Pyramid, classes: list[int]) -> None:
        """Asserts that the logits of a batch of two have the classes of each level."""
        with torch.no_grad():
            prediction = decoder.eval()(pyramid.features(2))
        found = [tuple(logits.shape[:2]) for logits in prediction.logits]
        expected = [(2, count) for count in classes]
        assert found == expected, (
            f"logits are [B, C] = {found} per level, but num_classes asks for {expected}, "
            "coarsest level first"
        )
        assert all(logits.ndim == 4 and min(logits.shape) > 0 for logits in prediction.logits), (
            f"logits have shapes {[list(logits.shape) for logits in prediction.logits]}: give "
            "[B, C, H, W]"
        )
        assert all(logits.isfinite().all() for logits in prediction.logits), "logits not finite"
        assert prediction.embedding is None, (
            "it answers an embedding that was not asked for: make one only where "
            "embedding_channels is above 0"
        )

    def test_an_embedding_is_offered_where_asked_for(self, pyramid: Pyramid) -> None:
        """A decoder that asks for `embedding_channels` answers an embedding of so many."""
        if not self.embedding_channels:
            pytest.skip("it does not ask for embedding_channels, and so offers no embedding")
        decoder = self.make(self.settings[0], pyramid, embedding_channels=EMBEDDING)
        with torch.no_grad():
            embedding = decoder.eval()(pyramid.features(2)).embedding
        assert embedding is not None, (
            f"it asks for embedding_channels, but answers no embedding where they are {EMBEDDING}"
        )
        assert embedding.ndim == 4, f"the embedding is {list(embedding.shape)}: give [B, D, h, w]"
        assert embedding.shape[:2] == (2, EMBEDDING), (
            f"the embedding is {list(embedding.shape)}, but embedding_channels is {EMBEDDING}"
        )
