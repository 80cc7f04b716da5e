"""The auxiliary head: logits of one stage for training alone."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from hieraseg import Loss, Prediction
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.model.auxiliary import AuxiliaryHead
from hieraseg.model.build import build_backbone, build_model
from hieraseg.model.segmentation import EncoderDecoder
from hieraseg.recipe import load
from hieraseg.recipe.build import build
from hieraseg.training.forward import loss_terms
from tests.support.runs import QUICKSTART

CLASSES = [2, 3, 7]
SMALL = [("backbone.weights", "null"), ("decoder", "linear")]


def model_of(*overrides: tuple[str, str], embedding_channels: int = 0) -> EncoderDecoder:
    """The model of a recipe, with the random weights of a seed."""
    recipe = load(QUICKSTART, [*SMALL, *overrides])
    torch.manual_seed(0)
    backbone = build_backbone(recipe)
    hierarchy = cast(Hierarchy, build(recipe["hierarchy"]))
    return cast(
        EncoderDecoder, build_model(recipe, backbone, hierarchy, CLASSES, embedding_channels)
    )


@pytest.fixture(scope="module")
def model() -> EncoderDecoder:
    return model_of(("auxiliary.stage", "2"), ("auxiliary.channels", "8"))


def test_its_layers_and_parameters(model: EncoderDecoder) -> None:
    names = {name: list(one.shape) for name, one in model.state_dict().items()}
    own = {name: shape for name, shape in names.items() if name.startswith("auxiliary.")}
    channels = cast(Any, model.backbone).channels[1]
    assert own["auxiliary.layers.0.weight"] == [8, channels, 3, 3]
    assert [own[f"auxiliary.classifiers.{level}.weight"] for level in range(3)] == [
        [2, 8, 1, 1], [3, 8, 1, 1], [7, 8, 1, 1],
    ]  # fmt: skip
    head = {id(one) for one in model.parts()["head"]}
    auxiliary = cast(AuxiliaryHead, model.auxiliary)
    assert all(id(one) in head for one in auxiliary.parameters())
    assert auxiliary.layers[3].p == 0.1


def test_other_weights_are_those_without_it(model: EncoderDecoder) -> None:
    without = model_of().state_dict()
    own = model.state_dict()
    assert not any(name.startswith("auxiliary") for name in without)
    assert all(torch.equal(own[name], one) for name, one in without.items())


def test_it_is_used_in_training_mode_only(model: EncoderDecoder) -> None:
    image = torch.rand(2, 3, 50, 70)
    with torch.no_grad():
        trained, evaluated = model.train()(image), model.eval()(image)
        plain = model_of().eval()(image)
    assert [tuple(one.shape) for one in trained.auxiliary] == [(2, n, 50, 70) for n in CLASSES]
    assert evaluated.auxiliary is None
    torch.testing.assert_close(model_of().train()(image).logits, trained.logits)
    assert len(evaluated.logits) == len(plain.logits)


def test_logits_are_computed_from_its_stage() -> None:
    """Written out in plain operations."""
    head = AuxiliaryHead(1, 5, [2, 4], channels=6, dropout=0.5).eval()
    pyramid = [torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4), torch.rand(2, 7, 2, 2)]
    weights = head.state_dict()
    features = nn.functional.conv2d(pyramid[1], weights["layers.0.weight"], padding=1)
    features = (features / (1 + 1e-5) ** 0.5).relu()  # untrained batch normalization
    for level, logits in enumerate(head(pyramid)):
        kernel, bias = (weights[f"classifiers.{level}.{one}"] for one in ("weight", "bias"))
        expected = torch.einsum("bchw,kc->bkhw", features, kernel[:, :, 0, 0])
        torch.testing.assert_close(logits, expected + bias[:, None, None])


@pytest.mark.parametrize(
    ("overrides", "embedding", "message"),
    [
        ({"auxiliary.stage": "5"}, 0, "command line: auxiliary.stage: the backbone "
         "efficientnet_lite has 4 stages, got 5; set it to at most 4"),
        ({"auxiliary.stage": "1", "loss": "hssn"}, 8,
         "command line: auxiliary.stage: the loss hssn trains an embedding, which "
         "the auxiliary head does not have; set it to null, or choose another loss"),
    ],
)  # fmt: skip
def test_refusals(overrides: dict[str, str], embedding: int, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        model_of(*overrides.items(), embedding_channels=embedding)
    assert str(caught.value) == message


class _Named(Loss):
    """Terms by name: the mean of all logits, times a number."""

    def __init__(self, **terms: float) -> None:
        super().__init__()
        self.terms = terms

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        mean = torch.stack([one.mean() for one in prediction.logits]).mean()
        return {name: factor * mean for name, factor in self.terms.items()}


def test_its_term_is_the_weighted_sum_of_the_losses_terms() -> None:
    logits, auxiliary = torch.full((1, 2, 4, 4), 3.0), torch.full((1, 2, 4, 4), 5.0)
    prediction = Prediction((logits,), None, (auxiliary,))
    targets = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    terms = loss_terms(_Named(a=1, b=2), prediction, targets, {}, 0.4)
    assert {name: one.item() for name, one in terms.items()} == pytest.approx(
        {"a": 3, "b": 6, "auxiliary": 0.4 * (5 + 10)}
    )
    assert set(loss_terms(_Named(a=1), Prediction((logits,)), targets, {}, 0.4)) == {"a"}


def test_a_loss_that_cannot_train_it_says_so() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    prediction = Prediction((logits,), logits, (logits,))
    targets = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    embedding = _Named(a=1)
    embedding.embedding_channels = 2
    for loss, problem in ((_Named(auxiliary=1), "has a term"), (embedding, "trains an embedding")):
        with pytest.raises(RecipeError, match=f"loss: it {problem}"):
            loss_terms(loss, prediction, targets, {}, 0.4)
