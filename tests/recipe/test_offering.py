"""Components that are not what their kind has to be: refused with what they lack, before a step."""

from typing import Any

import pytest
import torch
from torch import nn

from hieraseg import Loss, Prediction
from hieraseg.errors import RecipeError
from hieraseg.model.segmentation import EncoderDecoder, WholeModel
from hieraseg.recipe import ComponentSpec
from hieraseg.recipe.arguments import arguments_of
from hieraseg.recipe.build import build
from hieraseg.training.forward import loss_terms


class PlainNet(nn.Module):
    strides, mean, std = [2], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def forward(self, image: Any) -> Any:
        return image


class NoModule:
    channels, strides, mean, std = [3], [2], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __call__(self, image: Any) -> Any:
        return [image]


PROBLEMS: dict[str, tuple[str, Any, str]] = {
    "tree": ("hierarchy", {}, "is of type dict, not hieraseg's Hierarchy; return one, or"),
    "loss": ("loss", nn.Identity(), "is of type Identity, not hieraseg's Loss; return one, or"),
    "channels": ("backbone", PlainNet(), "has no 'channels', which a backbone needs; add this"),
    "module": (
        "backbone",
        NoModule(),
        "is of type NoModule, whose weights would not be",
    ),
    "model": ("model", PlainNet(), "has no 'stride', which a model needs; add this attribute"),
    "rule": ("inference", None, "is of type NoneType, which cannot be called; add a method"),
    "optimizer": ("optimizer", None, "is of type NoneType, not torch's Optimizer; return one"),
    "schedule": ("schedule", 0.1, "is of type float, not torch's LRScheduler; return one"),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_a_component_lacks(case: str) -> None:
    section, built, problem = PROBLEMS[case]
    spec = ComponentSpec(section, "mine", {}, lambda: built, places={"name": "my.yaml:3"})
    with pytest.raises(RecipeError) as caught:
        build(spec)
    assert str(caught.value).startswith(f"my.yaml:3: {section}: mine {problem}")
    assert str(caught.value).endswith(f"(see `hieraseg check {section} mine`)")


def test_what_a_network_returns() -> None:
    image = torch.zeros(1, 3, 4, 4)
    decoder, backbone = nn.Identity(), PlainNet()
    model = EncoderDecoder(backbone, decoder)
    with pytest.raises(RecipeError, match="backbone: PlainNet returns a tensor; return a list of"):
        model(image)
    backbone.forward = lambda image: [image]  # type: ignore[method-assign]
    with pytest.raises(RecipeError, match="decoder: Identity returns a list; return hieraseg"):
        model(image)
    backbone.stride = 1  # type: ignore[assignment]
    with pytest.raises(RecipeError, match="model: PlainNet returns a list; return hieraseg"):
        WholeModel(backbone)(image)


class TensorLoss(Loss):
    def forward(self, prediction: Any, targets: Any) -> Any:
        return prediction.logits[0].sum()


def test_what_a_loss_returns() -> None:
    prediction = Prediction((torch.zeros(1, 2, 4, 4),))
    targets = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    with pytest.raises(RecipeError, match="loss: TensorLoss returns a Tensor; return its terms by"):
        loss_terms(TensorLoss(), prediction, targets, {}, 0.0)


@pytest.mark.parametrize("annotation", [None, Prediction])
def test_a_function_in_place_of_a_class(annotation: Any) -> None:
    def loss(prediction) -> None:  # type: ignore[no-untyped-def]
        """A loss."""

    if annotation:
        loss.__annotations__["prediction"] = annotation
    with pytest.raises(RecipeError, match="register a class whose method forward gets it"):
        arguments_of(loss, frozenset())
