"""The suite of models passes correct ones, and detects broken ones."""

from typing import Any

import pytest
from torch import Tensor, nn

from hieraseg import Prediction
from hieraseg.testing.models import fits_a_stride
from tests.support.broken import check, failed, reasons


class Model(nn.Module):
    """Two convolutions, and a classifier per level on either of them."""

    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    stride = 4

    def __init__(
        self, num_classes: list[int], embedding_channels: int = 0, weights: str | None = None
    ) -> None:
        """Build the model.

        Args:
            weights: not used.
        """
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.second = nn.Conv2d(6, 6, 3, 2, 1)
        self.classifiers = nn.ModuleList(nn.Conv2d(6, one, 1) for one in num_classes)
        self.projection = nn.Conv2d(6, embedding_channels, 1) if embedding_channels else None

    def forward(self, image: Tensor) -> Prediction:
        first = self.first(image)
        second = self.second(first)
        features = [second, first, *[first] * (len(self.classifiers) - 2)]
        logits = tuple(map(lambda layer, one: layer(one), self.classifiers, features))
        return Prediction(logits, self.projection(first) if self.projection else None)


class WithBackbone(Model):
    """Names its first layers `backbone`."""

    def __init__(self, num_classes: list[int], embedding_channels: int = 0) -> None:
        super().__init__(num_classes, embedding_channels)
        self.backbone = self.first


class NoStride(Model):
    """Does not say to what images are padded."""

    stride = None  # type: ignore[assignment]


class StdOfBytes(Model):
    """`std` is that of images in 0..255."""

    std = (58.0, 57.0, 57.0)


class BackboneOfWords(Model):
    """`backbone` is no module."""

    backbone = "first"


class ReturnsLogits(Model):
    """Returns the logits alone."""

    def forward(self, image: Tensor) -> Any:
        return super().forward(image).logits


class FinestFirst(Model):
    """Returns the levels in the wrong order."""

    def forward(self, image: Tensor) -> Prediction:
        logits, embedding, _ = super().forward(image)
        return Prediction(logits[::-1], embedding)


class Transposes(Model):
    """Exchanges height and width, which resizing to the image would hide."""

    def forward(self, image: Tensor) -> Prediction:
        logits, embedding, _ = super().forward(image)
        return Prediction(tuple(one.transpose(2, 3) for one in logits), embedding)


class OnlyMultiples(Model):
    """Needs images whose sides are multiples of its stride."""

    def forward(self, image: Tensor) -> Prediction:
        return super().forward(
            nn.functional.pixel_shuffle(nn.functional.pixel_unshuffle(image, 4), 4)
        )


class IgnoresNumClasses(Model):
    """Uses the classes of the hierarchy instead of `num_classes`."""

    def __init__(self, num_classes: list[int], hierarchy: Any) -> None:
        super().__init__(hierarchy.num_classes)


class AlwaysEmbedding(Model):
    """Returns an embedding that was not requested."""

    def __init__(self, num_classes: list[int]) -> None:
        super().__init__(num_classes, 4)


class NoEmbedding(Model):
    """Has an argument embedding_channels, but returns no embedding."""

    def __init__(self, num_classes: list[int], embedding_channels: int = 0) -> None:
        super().__init__(num_classes)


class NeedsWeights(Model):
    """Cannot be built without weights."""

    def __init__(self, num_classes: list[int], weights: str = "imagenet") -> None:
        """Build the model.

        Args:
            weights: name of the weights.
        """
        super().__init__(num_classes)


class Unused(Model):
    """Has a layer that is not used."""

    def __init__(self, num_classes: list[int], embedding_channels: int = 0) -> None:
        super().__init__(num_classes, embedding_channels)
        self.unused = nn.Linear(6, 2)


class ChoosesLevels(Model):
    """Reads logits back to decide whether there are finer levels."""

    def forward(self, image: Tensor) -> Prediction:
        prediction = super().forward(image)
        if prediction.logits[0].max() > 1e3:
            raise RuntimeError
        return prediction


class Auxiliary(Model):
    """Has logits that training alone uses."""

    def __init__(self, num_classes: list[int]) -> None:
        super().__init__(num_classes)
        self.more = nn.ModuleList(
            nn.Conv2d(6, one, 1) for one in self.auxiliary_classes(num_classes)
        )

    def auxiliary_classes(self, num_classes: list[int]) -> list[int]:
        return num_classes

    def forward(self, image: Tensor) -> Prediction:
        logits, _, _ = super().forward(image)
        first = self.first(image)
        more = tuple(layer(first) for layer in self.more)
        return Prediction(logits, None, more if self.is_asked() else None)

    def is_asked(self) -> bool:
        return self.training


class AuxiliaryLeaves(Auxiliary):
    """Its auxiliary logits are of the leaves alone."""

    def auxiliary_classes(self, num_classes: list[int]) -> list[int]:
        return num_classes[-1:]


class AlwaysAuxiliary(Auxiliary):
    """Computes its auxiliary logits in evaluation, too."""

    def is_asked(self) -> bool:
        return True


@pytest.mark.parametrize("component", [Model, WithBackbone, Auxiliary])
def test_a_correct_model_has_all_properties(component: Any) -> None:
    report = check("models", component, compiled=component is Model)
    assert failed(report) == set(), reasons(report)
    assert report.count("passed") >= 17


LOGITS, LEAVES = "logits_match_num_classes", "logits_of_leaves_only"
EVERY_TREE, ATTRIBUTES = "logits_match_every_tree", "attributes_are_valid"
AUXILIARY, EMBEDDING = (
    "auxiliary_logits_are_those_of_training",
    "embedding_has_the_requested_channels",
)


@pytest.mark.parametrize(
    ("broken", "properties", "message"),
    [
        (NoStride, {ATTRIBUTES}, "stride must be a positive int, got None"),
        (StdOfBytes, {ATTRIBUTES}, "std must be that of images in 0..1, not 0..255"),
        (BackboneOfWords, {ATTRIBUTES}, "its attribute backbone is a str: make it the torch.nn."),
        (FinestFirst, {LOGITS, EVERY_TREE}, "coarsest level first"),
        (Transposes, {LOGITS}, "which no stride gives"),
        (OnlyMultiples, {LOGITS}, "RuntimeError"),
        (IgnoresNumClasses, {LEAVES}, "but must be [(2, 5)]"),
        (AlwaysEmbedding, {LOGITS, EVERY_TREE, LEAVES}, "although embedding_channels is 0"),
        (NoEmbedding, {EMBEDDING}, "it returns no embedding although"),
        (NeedsWeights, {"weights_may_be_none"}, "annotate it as `... | None`"),
        (Unused, {"gradients_reach_every_parameter"}, "unused.weight gets no gradient"),
        (ChoosesLevels, {"can_be_captured"}, "it reads a value back from the device"),
        (AuxiliaryLeaves, {AUXILIARY}, "auxiliary logits per level are"),
        (AlwaysAuxiliary, {AUXILIARY}, "only if `self.training` is true"),
    ],
)  # fmt: skip
def test_broken_models(broken: Any, properties: set[str], message: str) -> None:
    report = check("models", broken)
    assert failed(report) == properties, reasons(report)
    assert message in reasons(report)


def test_a_model_returns_a_prediction() -> None:
    report = check("models", ReturnsLogits)
    assert LOGITS in failed(report)
    assert "forward must return a `hieraseg.Prediction`, got tuple" in reasons(report)


def test_logits_fit_an_image_where_one_stride_gives_their_size() -> None:
    """Of either side, rounded up or down."""
    for stride in (1, 2, 4, 7, 16, 32):
        for height in (32, 65, 97):
            down = (height // stride, 128 // stride)
            up = (-(-height // stride), -(-128 // stride))
            assert min(down) == 0 or fits_a_stride((height, 128), down)
            assert fits_a_stride((height, 128), up)
            assert up[0] == up[1] or not fits_a_stride((height, 128), up[::-1])
