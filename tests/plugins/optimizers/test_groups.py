"""Parameter groups: learning rates by part and layer, and what weight decay applies to."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn, optim

from hieraseg import Prediction, registry
from hieraseg.errors import RecipeError
from hieraseg.model.parts import freeze
from hieraseg.model.segmentation import EncoderDecoder, SegmentationModel, WholeModel
from hieraseg.recipe import load
from hieraseg.recipe.build import build

LAYERS = {"positions": 0, "stem": 0, "blocks.0": 1, "blocks.1": 2}
OPTIMIZERS = {"adamw": {}, "sgd": {}, "timm": {"optimizer": "lion"}}


class Backbone(nn.Module):
    """Three layers, whose positions have no weight decay, as timm's transformers say it."""

    channels, strides = (4,), (1,)
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    num_layers = 3

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, 4, 1, 1))
        self.stem = nn.Conv2d(3, 4, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)) for _ in range(2)
        )

    def layer_of(self, parameter_name: str) -> int:
        return next(layer for name, layer in LAYERS.items() if parameter_name.startswith(name))

    def no_weight_decay(self) -> set[str]:
        return {"positions"}


class Decoder(nn.Module):
    """A convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(4, 2, 1)

    def forward(self, pyramid: list[Tensor]) -> Prediction:
        return Prediction((self.classifier(pyramid[0]),))


class Network(nn.Module):
    """A model with a backbone inside."""

    stride = 1
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Conv2d(4, 2, 1)


def optimizer_of(model: SegmentationModel, name: str = "adamw", **arguments: Any) -> Any:
    factory = registry.optimizers.get(name)
    return factory(model.parts(), model=model, **{"lr": 1.0, **OPTIMIZERS[name], **arguments})


def settings_of(model: nn.Module, optimizer: optim.Optimizer) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter by name."""
    names = {one: name for name, one in model.named_parameters()}
    found = [
        (names[one], (group["lr"], group["weight_decay"]))
        for group in optimizer.param_groups
        for one in group["params"]
    ]
    assert len(found) == len(dict(found)), "a parameter is in two groups"
    return dict(found)


def test_layer_decay_by_hand() -> None:
    """Of three layers the last has the decay once, the stem three times, the head never."""
    model = EncoderDecoder(Backbone(), Decoder())
    found = settings_of(model, optimizer_of(model, layer_decay=0.5))
    assert {name: rate for name, (rate, _) in found.items() if name.endswith("weight")} == {
        "backbone.stem.weight": 0.125,
        "backbone.blocks.0.0.weight": 0.25,
        "backbone.blocks.0.1.weight": 0.25,
        "backbone.blocks.1.0.weight": 0.5,
        "backbone.blocks.1.1.weight": 0.5,
        "decoder.classifier.weight": 1.0,
    }
    assert found["backbone.positions"][0] == 0.125


def test_by_default_there_is_one_group_for_each_part() -> None:
    model = EncoderDecoder(Backbone(), Decoder())
    groups = optimizer_of(model, weight_decay=0.25, backbone_lr_multiplier=0.5).param_groups
    assert [group["params"] for group in groups] == list(model.parts().values())
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.5, 0.25), (1.0, 0.25)]


@pytest.mark.parametrize("name", OPTIMIZERS)
@settings(max_examples=15, deadline=None)
@given(
    lr=st.floats(1e-4, 1.0),
    multiplier=st.sampled_from([0.0, 0.1, 1.0]),
    layer_decay=st.sampled_from([0.65, 0.9, 1.0]),
    decay_norms=st.booleans(),
    frozen=st.sets(st.sampled_from(["backbone.stem", "backbone.blocks.1", "decoder"])),
    is_whole=st.booleans(),
)
def test_groups_are_those_of_a_reading_by_name(
    name: str,
    lr: float,
    multiplier: float,
    layer_decay: float,
    decay_norms: bool,
    frozen: set[str],
    is_whole: bool,
) -> None:
    model: SegmentationModel = EncoderDecoder(Backbone(), Decoder())
    if is_whole:
        model, frozen = (
            WholeModel(Network()),
            {f"network.{one}" for one in frozen} - {"network.decoder"},
        )
    freeze(model, sorted(frozen))
    optimizer = optimizer_of(
        model,
        name,
        lr=lr,
        weight_decay=0.25,
        backbone_lr_multiplier=multiplier,
        layer_decay=layer_decay,
        decay_norms=decay_norms,
    )
    expected = {}
    for full_name, parameter in model.named_parameters():
        own = full_name.removeprefix("network.")
        rate = lr
        if own.startswith("backbone."):
            own = own.removeprefix("backbone.")
            layer = next(at for start, at in LAYERS.items() if own.startswith(start))
            rate = lr * multiplier * layer_decay ** (3 - layer)
        decays = decay_norms or (parameter.ndim > 1 and own != "positions")
        if not any(full_name.startswith(f"{part}.") for part in frozen):
            expected[full_name] = (pytest.approx(rate), 0.25 if decays else 0.0)
    assert settings_of(model, optimizer) == expected
    assert optimizer.param_groups[-1]["lr"] == pytest.approx(lr) or "decoder" in frozen


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_schedules_keep_the_ratios_of_layers(schedule: str) -> None:
    model = EncoderDecoder(Backbone(), Decoder())
    optimizer = optimizer_of(model, layer_decay=0.5, decay_norms=False)
    first = [group["lr"] for group in optimizer.param_groups]
    scheduled = registry.schedules.get(schedule)(optimizer, total_steps=10, warmup=0.2)
    for _ in range(9):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert [rate / rates[-1] for rate in rates] == pytest.approx(first)
        optimizer.step()
        scheduled.step()


def test_a_backbone_that_does_not_tell_its_layers_is_refused() -> None:
    recipe = load("quickstart", [("optimizer.layer_decay", "0.7")])
    body = nn.Conv2d(3, 4, 1)
    body.__dict__.update(strides=[1], mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    model = EncoderDecoder(body, Decoder())
    with pytest.raises(RecipeError) as error:
        build(recipe["optimizer"], parameters=model.parts(), model=model)
    assert str(error.value).startswith(
        "command line: optimizer.layer_decay: adamw: needs a backbone that tells the layer"
    )


def test_a_transformer_of_timm_has_layers_and_positions() -> None:
    body = registry.backbones.get("timm")("test_vit")
    model = EncoderDecoder(body, Decoder())
    found = settings_of(
        model, optimizer_of(model, weight_decay=0.5, layer_decay=0.5, decay_norms=False)
    )
    positions = next(name for name in found if name.endswith("pos_embed"))
    assert found[positions] == (0.5**body.num_layers, 0.0)
    weights = [name for name in found if name.endswith("qkv.weight")]
    rates = [found[name][0] for name in weights]
    assert [rate / rates[0] for rate in rates] == [2**block for block in range(len(weights))]
    assert all(found[name][1] == 0.5 for name in weights)
    assert all(found[name][1] == 0.0 for name in found if name.endswith(("bias", "norm1.weight")))
