"""The suites of backbones and decoders: what they pass, and what they find."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hieraseg import Prediction
from tests.support.broken import check, failed, reasons


class Backbone(nn.Module):
    """Two convolutions with a batch normalisation."""

    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self, weights: str | None = None) -> None:
        """Make it.

        Args:
            weights: none are there.
        """
        super().__init__()
        self.channels, self.strides = [4, 6], [2, 4]
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        first = self.first(image)
        return [first, self.second(first)]


class OtherChannels(Backbone):
    """Its channels are others than it says."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = [4, 8]


class Strides(Backbone):
    """Its strides are others than it says."""

    def __init__(self) -> None:
        super().__init__()
        self.strides = [4, 8]


class Statistics(Backbone):
    """Its mean is of bytes."""

    mean = (127.0, 127.0, 127.0)


class CoarsestFirst(Backbone):
    """Its feature maps come coarsest first."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.strides = [6, 4], [4, 2]

    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image)[::-1]


class NeedsWeights(Backbone):
    """It cannot be built without weights."""

    def __init__(self, weights: str = "imagenet") -> None:
        """Make it.

        Args:
            weights: which.
        """
        super().__init__()


class Unused(Backbone):
    """It has a layer that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(6, 2)


class Detached(Backbone):
    """Its first layers are cut off."""

    def forward(self, image: Tensor) -> list[Tensor]:
        first = self.first(image).detach()
        return [first, self.second(first)]


class Normalises(Backbone):
    """It normalises the image in place."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image.sub_(image.mean((1, 2, 3), keepdim=True)))


class Drops(Backbone):
    """It drops features also where it is not trained."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [F.dropout(one, 1e-3) for one in super().forward(image)]


class ByBatch(Backbone):
    """It takes the mean over the batch."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image - image.mean())


class Flattens(Backbone):
    """It takes for granted that channels come first in memory."""

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        return [first, second.view(len(image), -1).view(second.shape)]


class Overflows(Backbone):
    """It divides by what half precision rounds to zero."""

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        return [first, second / (1 + (first[:1, :1, :1, :1] * 0 + 1e-3).to(second.dtype) - 1)]


class Forgets(Backbone):
    """Its answer depends on random numbers that no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.randn(6, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        return [first, second + self.shift]


class OtherCompiled(Backbone):
    """It computes something else when it is compiled."""

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        return [first, second * (2 if torch.compiler.is_compiling() else 1)]


def test_a_right_backbone_has_all_properties() -> None:
    report = check("backbones", Backbone, compiled=True)
    assert failed(report) == set(), reasons(report)
    assert report.count("passed") >= 14


TRUTH = "channels_and_strides_are_truthful"
SAYS = "it_says_its_channels_strides_and_statistics"


@pytest.mark.parametrize(
    ("broken", "properties", "words"),
    [
        (OtherChannels, {TRUTH}, "its channels are 8"),
        (Strides, {TRUTH}, "at stride 4"),
        (Statistics, {SAYS}, "in 0..1, not in 0..255"),
        (CoarsestFirst, {SAYS}, "the finest comes first"),
        (NeedsWeights, {"it_can_be_built_without_its_weights"}, "type it as `... | None`"),
        (Unused, {"gradients_reach_every_parameter"}, "classifier.weight gets no gradient"),
        (Detached, {"gradients_reach_every_parameter"}, "first.0.weight gets no gradient"),
        (Normalises, {"inputs_are_not_changed"}, "inplace=True"),
        (Drops, {"evaluation_is_deterministic", "images_of_a_batch_do_not_affect_each_other",
                 "channels_last_gives_the_same", "a_checkpoint_brings_it_back"}, "self.training"),
        (ByBatch, {"images_of_a_batch_do_not_affect_each_other"}, "no statistics of the batch"),
        (Flattens, {"channels_last_gives_the_same"}, "RuntimeError"),
        (Overflows, {"autocast_gives_finite_answers_and_gradients"}, "in float32"),
        (Forgets, {"a_checkpoint_brings_it_back"}, "persistent buffer"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_backbone(broken: Any, properties: set[str], words: str) -> None:
    report = check("backbones", broken)
    assert failed(report) == properties, reasons(report)
    assert words in reasons(report)


def test_what_only_a_compiler_changes_is_found() -> None:
    found = failed(check("backbones", OtherCompiled, compiled=True))
    assert found == {"torch_compile_gives_the_same"}


class Decoder(nn.Module):
    """A classifier per level on the finest stage, which reads all stages."""

    def __init__(
        self, channels: list[int], num_classes: list[int], embedding_channels: int = 0
    ) -> None:
        super().__init__()
        self.embedding_channels = embedding_channels
        self.laterals = nn.ModuleList(nn.Conv2d(one, 8, 1) for one in channels)
        self.classifiers = nn.ModuleList(nn.Conv2d(8, one, 1) for one in num_classes)
        self.projection = nn.Conv2d(8, embedding_channels, 1) if embedding_channels else None

    def fused(self, pyramid: list[Tensor]) -> Tensor:
        size = pyramid[0].shape[-2:]
        laterals = zip(self.laterals, pyramid, strict=True)
        return sum(F.interpolate(layer(one), size) for layer, one in laterals)  # type: ignore[return-value]

    def forward(self, pyramid: list[Tensor]) -> Prediction:
        features = self.fused(pyramid)
        logits = tuple(one(features) for one in self.classifiers)
        return Prediction(logits, self.projection(features) if self.projection else None)


class NoEmbedding(Decoder):
    """It asks for embedding_channels, and offers no embedding."""

    def __init__(
        self, channels: list[int], num_classes: list[int], embedding_channels: int = 0
    ) -> None:
        super().__init__(channels, num_classes)


class AlwaysEmbedding(Decoder):
    """It offers an embedding that nobody asked for."""

    def __init__(self, channels: list[int], num_classes: list[int]) -> None:
        super().__init__(channels, num_classes, 4)


class AllLevels(Decoder):
    """It counts the classes of the hierarchy, and not those that it is asked for."""

    def __init__(self, channels: list[int], num_classes: list[int], hierarchy: Any) -> None:
        super().__init__(channels, hierarchy.num_classes)


class ThreeStages(Decoder):
    """It reads three stages."""

    def fused(self, pyramid: list[Tensor]) -> Tensor:
        assert len(pyramid) == 3
        return super().fused(pyramid)


class ThreeLevels(Decoder):
    """It answers three levels at most."""

    def __init__(self, channels: list[int], num_classes: list[int]) -> None:
        super().__init__(channels, num_classes[:3])


class TwiceAsLarge(Decoder):
    """It takes each stage to be twice as large as the next."""

    def fused(self, pyramid: list[Tensor]) -> Tensor:
        features = self.laterals[-1](pyramid[-1])
        for layer, one in zip(self.laterals[-2::-1], pyramid[-2::-1], strict=True):
            features = layer(one) + F.interpolate(features, scale_factor=2)
        return features


class InPlace(Decoder):
    """It begins with a ReLU in place."""

    def fused(self, pyramid: list[Tensor]) -> Tensor:
        return super().fused([F.relu(one, inplace=True) for one in pyramid])


@pytest.mark.parametrize("settings", [({},)])
def test_a_right_decoder_has_all_properties(settings: Any) -> None:
    report = check("decoders", Decoder, compiled=True, settings=settings)
    assert failed(report) == set(), reasons(report)
    assert report.count("skipped") == 1  # CUDA


@pytest.mark.parametrize(
    ("broken", "properties", "words"),
    [
        (NoEmbedding, {"an_embedding_is_offered_where_asked_for"}, "but answers no embedding"),
        (
            AlwaysEmbedding,
            {
                "logits_are_those_of_every_level",
                "logits_are_those_of_every_tree",
                "logits_of_the_leaves_alone",
            },
            "embedding that was not asked for",
        ),
        (AllLevels, {"logits_of_the_leaves_alone"}, "but num_classes asks for [(2, 5)]"),
        (
            ThreeStages,
            {
                "logits_are_those_of_every_level",
                "logits_of_the_leaves_alone",
                "an_embedding_is_offered_where_asked_for",
            },
            "1 == 3",
        ),
        (ThreeLevels, {"logits_are_those_of_every_tree"}, "coarsest level first"),
        (InPlace, {"inputs_are_not_changed"}, "inplace=True"),
    ],
)
def test_what_is_wrong_with_a_decoder(broken: Any, properties: set[str], words: str) -> None:
    report = check("decoders", broken)
    assert failed(report) == properties, reasons(report)
    assert words in reasons(report)


def test_pyramids_of_odd_images_are_decoded() -> None:
    found = check("decoders", TwiceAsLarge)
    assert "logits_are_those_of_every_level" in failed(found)
    assert "size of tensor" in reasons(found)
