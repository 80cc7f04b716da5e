"""The suites of backbones and decoders pass correct ones, and detect broken ones."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hieraseg import Prediction
from tests.support.broken import check, failed, reasons


class Backbone(nn.Module):
    """Two convolutions with batch normalization."""

    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self, weights: str | None = None) -> None:
        """Build the backbone.

        Args:
            weights: not used.
        """
        super().__init__()
        self.channels, self.strides = [4, 6], [2, 4]
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        first = self.first(image)
        return [first, self.second(first)]


class WrongChannels(Backbone):
    """`channels` differ from the feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = [4, 8]


class WrongStrides(Backbone):
    """`strides` differ from the feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.strides = [4, 8]


class MeanOfBytes(Backbone):
    """`mean` is that of images in 0..255."""

    mean = (127.0, 127.0, 127.0)


class CoarsestFirst(Backbone):
    """Feature maps are ordered coarsest first."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.strides = [6, 4], [4, 2]

    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image)[::-1]


class NeedsWeights(Backbone):
    """Cannot be built without weights."""

    def __init__(self, weights: str = "imagenet") -> None:
        """Build the backbone.

        Args:
            weights: name of the weights.
        """
        super().__init__()


class Unused(Backbone):
    """Has a layer that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(6, 2)


class Detached(Backbone):
    """Detaches the first layers."""

    def forward(self, image: Tensor) -> list[Tensor]:
        first = self.first(image).detach()
        return [first, self.second(first)]


class NormalizesInPlace(Backbone):
    """Normalizes the image in place."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image.sub_(image.mean((1, 2, 3), keepdim=True)))


class AlwaysDropout(Backbone):
    """Applies dropout even in evaluation mode."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [F.dropout(one, 1e-2) for one in super().forward(image)]


class BatchMean(Backbone):
    """Subtracts the mean of the batch."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image - image.mean())


class Flattens(Backbone):
    """Assumes that channels come first in memory."""

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        return [first, second.view(len(image), -1).view(second.shape)]


class Overflows(Backbone):
    """Divides by a number that half precision rounds to zero."""

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        return [first, second / (1 + (first[:1, :1, :1, :1] * 0 + 1e-3).to(second.dtype) - 1)]


class UnsavedState(Backbone):
    """Depends on a random buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.randn(6, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        return [first, second + self.shift]


class DiffersCompiled(Backbone):
    """Computes something else when compiled."""

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        return [first, second * (2 if torch.compiler.is_compiling() else 1)]


class ZeroResidual(Backbone):
    """Ends in a nested residual branch that is zero until it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.inner = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
        self.outer_scale = nn.Parameter(torch.zeros(6, 1, 1))
        self.inner_scale = nn.Parameter(torch.zeros(6, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        inside = self.branch(second)
        inside = inside + self.inner_scale * self.inner(inside)
        return [first, second + self.outer_scale * inside]


class StuckAtZero(Backbone):
    """Multiplies two weights that are both zero, so that neither gets a gradient, ever."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.zeros(2, 6, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        first, second = super().forward(image)
        return [first, second * (1 + self.scales[0] * self.scales[1])]


class ChecksRange(Backbone):
    """Checks the range of the image."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image / 255 if image.max() > 100 else image)


class CountsCalls(Backbone):
    """Counts its calls in Python, in a layer."""

    def forward(self, image: Tensor) -> list[Tensor]:
        self.first.calls = getattr(self.first, "calls", 0) + 1  # type: ignore[assignment]
        return super().forward(image)


def test_a_correct_backbone_has_all_properties() -> None:
    report = check("backbones", Backbone, compiled=True)
    assert failed(report) == set(), reasons(report)
    assert report.count("passed") >= 14


def test_a_residual_branch_may_start_at_zero() -> None:
    """What is behind it gets a gradient as soon as it is trained."""
    report = check("backbones", ZeroResidual)
    assert failed(report) == set(), reasons(report)


FEATURES = "features_match_channels_and_strides"
ATTRIBUTES = "attributes_are_valid"


@pytest.mark.parametrize(
    ("broken", "properties", "message"),
    [
        (WrongChannels, {FEATURES}, "its channels are 8"),
        (WrongStrides, {FEATURES}, "at stride 4"),
        (MeanOfBytes, {ATTRIBUTES}, "images in 0..1, not 0..255"),
        (CoarsestFirst, {ATTRIBUTES}, "strides must be ascending"),
        (NeedsWeights, {"weights_may_be_none"}, "annotate it as `... | None`"),
        (Unused, {"gradients_reach_every_parameter"}, "classifier.weight gets no gradient"),
        (StuckAtZero, {"gradients_reach_every_parameter"}, "the gradient of scales is zero"),
        (Detached, {"gradients_reach_every_parameter"}, "first.0.weight gets no gradient"),
        (NormalizesInPlace, {"inputs_are_not_modified"}, "inplace=True"),
        (AlwaysDropout, {"evaluation_is_deterministic", "images_in_a_batch_are_independent",
                 "channels_last_matches", "checkpoint_round_trip"}, "self.training"),
        (BatchMean, {"images_in_a_batch_are_independent"}, "do not use batch statistics"),
        (Flattens, {"channels_last_matches"}, "RuntimeError"),
        (Overflows, {"autocast_is_finite"}, "in float32"),
        (UnsavedState, {"checkpoint_round_trip"}, "persistent buffer"),
        (ChecksRange, {"can_be_captured"}, "it reads a value back from the device"),
        (CountsCalls, {"can_be_captured"}, "it changes its attribute `first.calls`"),
    ],
)  # fmt: skip
def test_broken_backbones(broken: Any, properties: set[str], message: str) -> None:
    report = check("backbones", broken)
    assert failed(report) == properties, reasons(report)
    assert message in reasons(report)


def test_compiled_backbone_that_differs() -> None:
    found = failed(check("backbones", DiffersCompiled, compiled=True))
    assert found == {"compiled_matches_eager"}


class Decoder(nn.Module):
    """A classifier per level on the sum of all stages."""

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
    """Has an argument embedding_channels, but returns no embedding."""

    def __init__(
        self, channels: list[int], num_classes: list[int], embedding_channels: int = 0
    ) -> None:
        super().__init__(channels, num_classes)


class AlwaysEmbedding(Decoder):
    """Returns an embedding that was not requested."""

    def __init__(self, channels: list[int], num_classes: list[int]) -> None:
        super().__init__(channels, num_classes, 4)


class IgnoresNumClasses(Decoder):
    """Uses the classes of the hierarchy instead of `num_classes`."""

    def __init__(self, channels: list[int], num_classes: list[int], hierarchy: Any) -> None:
        super().__init__(channels, hierarchy.num_classes)


class ThreeStages(Decoder):
    """Assumes three stages."""

    def fused(self, pyramid: list[Tensor]) -> Tensor:
        assert len(pyramid) == 3
        return super().fused(pyramid)


class ThreeLevels(Decoder):
    """Returns at most three levels."""

    def __init__(self, channels: list[int], num_classes: list[int]) -> None:
        super().__init__(channels, num_classes[:3])


class TwiceAsLarge(Decoder):
    """Assumes that each stage is twice as large as the next."""

    def fused(self, pyramid: list[Tensor]) -> Tensor:
        features = self.laterals[-1](pyramid[-1])
        for layer, one in zip(self.laterals[-2::-1], pyramid[-2::-1], strict=True):
            features = layer(one) + F.interpolate(features, scale_factor=2)
        return features


class InPlace(Decoder):
    """Starts with an in-place ReLU."""

    def fused(self, pyramid: list[Tensor]) -> Tensor:
        return super().fused([F.relu(one, inplace=True) for one in pyramid])


class FourStages(Decoder):
    """Refuses feature pyramids that do not have the strides 4, 8, 16 and 32."""

    def __init__(self, channels: list[int], strides: list[int], num_classes: list[int]) -> None:
        if strides != [4, 8, 16, 32]:
            raise ValueError(f"needs strides 4, 8, 16, 32, got {strides}")
        super().__init__(channels, num_classes)


class Refuses(Decoder):
    """Refuses every feature pyramid."""

    def __init__(self, channels: list[int], num_classes: list[int]) -> None:
        raise ValueError(f"needs 7 channels, got {channels[0]}")


def test_a_decoder_may_refuse_some_pyramids() -> None:
    """These cases are skipped with its reason, and it is checked on the others."""
    report = check("decoders", FourStages)
    assert failed(report) == set(), reasons(report)
    (logits,) = (one for one in report.properties if one.name == "test_logits_match_num_classes")
    outcomes = {case.name.rsplit("-", 1)[-1]: case.outcome for case in logits.cases}
    assert [name for name, outcome in outcomes.items() if outcome == "passed"] == ["four stages"]
    assert "needs strides 4, 8, 16, 32, got [16]" in reasons(report)


def test_a_decoder_must_not_refuse_all_pyramids() -> None:
    report = check("decoders", Refuses)
    assert "inputs_are_not_modified" in failed(report)
    assert "it refuses every feature pyramid (three stages: " in reasons(report)
    assert "needs 7 channels, got 8" in reasons(report)


@pytest.mark.parametrize("settings", [({},)])
def test_a_correct_decoder_has_all_properties(settings: Any) -> None:
    report = check("decoders", Decoder, compiled=True, settings=settings)
    assert failed(report) == set(), reasons(report)
    assert report.count("skipped") == 3  # CUDA, no restricted argument, no auxiliary logits


@pytest.mark.parametrize(
    ("broken", "properties", "message"),
    [
        (NoEmbedding, {"embedding_has_the_requested_channels"}, "it returns no embedding although"),
        (
            AlwaysEmbedding,
            {
                "logits_match_num_classes",
                "logits_match_every_tree",
                "logits_of_leaves_only",
            },
            "an embedding although embedding_channels is 0",
        ),
        (IgnoresNumClasses, {"logits_of_leaves_only"}, "but must be [(2, 5)]"),
        (
            ThreeStages,
            {
                "logits_match_num_classes",
                "logits_of_leaves_only",
                "embedding_has_the_requested_channels",
            },
            "1 == 3",
        ),
        (ThreeLevels, {"logits_match_every_tree"}, "coarsest level first"),
        (InPlace, {"inputs_are_not_modified"}, "inplace=True"),
    ],
)
def test_broken_decoders(broken: Any, properties: set[str], message: str) -> None:
    report = check("decoders", broken)
    assert failed(report) == properties, reasons(report)
    assert message in reasons(report)


def test_decoder_that_assumes_even_sizes() -> None:
    found = check("decoders", TwiceAsLarge)
    assert "logits_match_num_classes" in failed(found)
    assert "size of tensor" in reasons(found)
