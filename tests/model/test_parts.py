"""Parts of a model by name, and freezing them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hieraseg import Prediction
from hieraseg.errors import RecipeError
from hieraseg.model.parts import freeze, in_parts
from hieraseg.model.segmentation import EncoderDecoder, SegmentationModel, WholeModel
from tests.support.tracing import without_shape_checks


class Network(nn.Module):
    """A backbone with batch normalization and dropout, and a head; also a model by itself."""

    strides, stride = (1,), 1
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self, has_backbone: bool = True) -> None:
        super().__init__()
        layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.body = nn.BatchNorm2d(4)
        if has_backbone:
            self.backbone = layers
        else:
            self.layers = layers
        self.own = nn.Parameter(torch.ones(4, 1, 1))
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Prediction:
        layers = self.backbone if hasattr(self, "backbone") else self.layers
        return Prediction((self.head(self.own * self.body(layers(image))),))


class Decoder(nn.Module):
    """Batch normalization, dropout and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Conv2d(2, 2, 1))

    def forward(self, prediction: Prediction) -> Prediction:
        return Prediction((self.layers(prediction.logits[0]),))


class Plain(nn.Module):
    """Batch normalization of the last feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)

    def forward(self, pyramid: list[Tensor]) -> Prediction:
        return Prediction((self.norm(pyramid[-1]),))


def encoder_decoder() -> SegmentationModel:
    return EncoderDecoder(Network(), Decoder())


@pytest.mark.parametrize(
    ("model", "parts", "belonging"),
    [
        (encoder_decoder(), ["backbone"], {"backbone.body.bias", "backbone.head.weight"}),
        (encoder_decoder(), ["head"], {"decoder.layers.0.bias", "decoder.layers.2.weight"}),
        (encoder_decoder(), ["backbone.head", "backbone.own"], {"backbone.head.weight"}),
        (WholeModel(Network()), ["backbone"], {"network.backbone.0.bias"}),
        (WholeModel(Network()), ["head"], {"network.own", "network.body.bias"}),
        (WholeModel(Network(has_backbone=False)), ["head"], {"network.layers.0.bias"}),
    ],
)
def test_parts(model: SegmentationModel, parts: list[str], belonging: set[str]) -> None:
    belongs = in_parts(model, parts, "training.freeze")
    named = {name for name, _ in model.named_parameters() if belongs(name)}
    assert belonging <= named < {name for name, _ in model.named_parameters()} or (
        parts == ["head"] and not model.backbone_name
    )
    if parts == ["backbone.head", "backbone.own"]:
        assert named == {"backbone.head.weight", "backbone.head.bias", "backbone.own"}


def test_backbone_and_head_are_all() -> None:
    for model in (encoder_decoder(), WholeModel(Network())):
        backbone, head = (in_parts(model, [part], "") for part in ("backbone", "head"))
        assert all(backbone(name) != head(name) for name, _ in model.named_parameters())


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("backbon", "did you mean 'backbone'?"),
        ("decoder.layer", "did you mean 'decoder.layers'?"),
        ("backbone.bod", "did you mean 'backbone.body'?"),
        ("zzz", "known: backbone, head, backbone.body, backbone.backbone, "),
        ("", "known: backbone, head, "),
    ],
)
def test_unknown_parts_are_refused(part: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        in_parts(encoder_decoder(), ["head", part], "init.drop")
    assert str(error.value).startswith(f"init.drop: the model has no part {part!r}, {message}")


def test_models_without_a_backbone() -> None:
    with pytest.raises(RecipeError, match="the model has no backbone"):
        freeze(WholeModel(Network(has_backbone=False)), ["backbone"])


@pytest.mark.parametrize("model", [encoder_decoder(), WholeModel(Network())])
def test_a_frozen_backbone_is_as_in_evaluation(model: SegmentationModel) -> None:
    """Weights and statistics stay, dropout does nothing, and the rest is trained as ever."""
    freeze(model, ["backbone"])
    backbone = model.get_submodule(model.backbone_name)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    model.eval().train()
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(backbone[2](images), images) if isinstance(backbone, nn.Sequential) else True
    model(images).logits[0].sum().backward()
    assert model.parts()["backbone"] == []
    torch.optim.SGD(model.parts()["head"], lr=0.1, weight_decay=0.1).step()
    inside = in_parts(model, ["backbone"], "")
    changed = {
        name for name, one in model.state_dict().items() if not torch.equal(one, before[name])
    }
    assert changed
    assert not any(map(inside, changed))
    statistics = [name for name in before if name.endswith("running_mean") and not inside(name)]
    assert set(statistics) <= changed
    assert model.training


def test_a_frozen_head_leaves_the_backbone_in_training() -> None:
    model = WholeModel(Network())
    freeze(model, ["head"])
    model.train()
    assert [name for name, one in model.named_modules() if one.training] == [
        "",
        *(f"network.backbone{name}" for name in ("", ".0", ".1", ".2")),
    ]
    assert model.parts()["head"] == []
    assert len(model.parts()["backbone"]) == 4


def test_a_statistic_alone_is_not_frozen() -> None:
    """It would go on to change, since its module updates it."""
    model = EncoderDecoder(Network(), Decoder())
    name = next(name for name in model.state_dict() if name.endswith("running_mean"))
    with pytest.raises(RecipeError) as error:
        freeze(model, [name])
    module = name.removesuffix(".running_mean")
    assert str(error.value) == (
        f"training.freeze: {name} stays as it is only with its module; name {module}"
    )


def test_nothing_left_to_train_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"training\.freeze: freezes all weights"):
        freeze(encoder_decoder(), ["backbone", "head"])


def test_a_compiled_model_keeps_its_frozen_parts() -> None:
    class Body(nn.Sequential):
        def forward(self, image: Tensor) -> list[Tensor]:
            return [super().forward(image)]

    body = Body(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    body.__dict__.update(strides=(1,), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    model = EncoderDecoder(body, Plain())
    freeze(model, ["backbone"])
    compiled: Any = torch.compile(model, backend="eager", fullgraph=True)
    for _ in range(2):
        compiled.eval()
        compiled.train()
        with without_shape_checks():
            compiled(torch.rand(2, 3, 4, 4)).logits[0].sum().backward()
    assert model.state_dict()["backbone.1.num_batches_tracked"] == 0
    assert model.state_dict()["decoder.norm.num_batches_tracked"] == 2
