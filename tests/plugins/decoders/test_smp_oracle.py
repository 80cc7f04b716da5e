"""The decoders over segmentation_models_pytorch against its own models."""

from typing import Any, NamedTuple

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hieraseg import registry

CLASSES = [2, 3]
UNUSED = "blocks.4.attention1."
"""smp's last block has attention for a skip connection, without one."""


class Case(NamedTuple):
    """A model of smp, and the decoder that is the same.

    Attributes:
        model: the class.
        options: arguments of the model that are not defaults.
        settings: arguments of the decoder that are not defaults.
    """

    model: type[nn.Module]
    options: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    settings: dict[str, Any] = {}  # noqa: RUF012


CASES = {
    "deeplabv3plus": Case(smp.DeepLabV3Plus, {"decoder_atrous_rates": (6, 12, 18)}),
    "fpn": Case(smp.FPN),
    "linknet": Case(smp.Linknet),
    "manet": Case(smp.MAnet),
    "pan": Case(smp.PAN, {"encoder_depth": 4}),
    "segformer": Case(smp.Segformer),
    "unet": Case(smp.Unet),
    "unet with attention": Case(
        smp.Unet, {"decoder_attention_type": "scse"}, {"attention": "scse"}
    ),
    "unetplusplus": Case(smp.UnetPlusPlus),
    "upernet": Case(smp.UPerNet),
}


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_smp(name: str) -> None:
    """With the same weights, on an image whose sides are multiples of all strides."""
    case, image = CASES[name], torch.rand(2, 3, 128, 192)
    torch.manual_seed(0)
    model: Any = case.model(
        "tu-test_resnet", encoder_weights=None, classes=sum(CLASSES), **case.options
    )
    head = with_1x1_convolution(model)
    with torch.no_grad():
        features = model.eval().encoder(image)[1:]
        expected = model(image)
    own = build(name.split()[0], features, image, case.settings)
    weights = model.decoder.state_dict()
    unused = [key for key in weights if key.startswith(UNUSED)]
    own.trunks[0].load_state_dict({key: weights[key] for key in weights.keys() - unused})
    assert_same(own, head, features, expected)


def test_logits_of_dpt_are_those_of_smp() -> None:
    """On a vision transformer, whose feature maps all have a stride of 16."""
    image = torch.rand(2, 3, 160, 160)
    torch.manual_seed(0)
    widths = (8, 8, 16, 16)
    model: Any = smp.DPT(
        "tu-test_vit",
        encoder_weights=None,
        classes=sum(CLASSES),
        decoder_readout="ignore",
        decoder_intermediate_channels=widths,
        decoder_fusion_channels=16,
    )
    with torch.no_grad():
        features, _ = model.eval().encoder(image)
        expected = model(image)
    own = build("dpt", features, image, {"widths": widths, "width": 16})
    smooth = model.segmentation_head.head[:3]
    smooth = {f"smooth.{key}": value for key, value in smooth.state_dict().items()}
    own.trunks[0].load_state_dict({**model.decoder.state_dict(), **smooth})
    assert_same(own, model.segmentation_head.head[-1], features, expected)


def with_1x1_convolution(model: Any) -> nn.Conv2d:
    """Replace the model's head, which for some models is a 3x3 convolution."""
    old = model.segmentation_head[0]
    model.segmentation_head[0] = nn.Conv2d(old.in_channels, old.out_channels, 1)
    return model.segmentation_head[0]


def build(decoder: str, features: list[Tensor], image: Tensor, settings: dict[str, Any]) -> Any:
    torch.manual_seed(1)
    return registry.decoders.get(decoder)(
        channels=[one.shape[1] for one in features],
        strides=[image.shape[-1] // one.shape[-1] for one in features],
        num_classes=CLASSES,
        **settings,
    ).eval()


def assert_same(own: Any, head: nn.Conv2d, features: list[Tensor], expected: Tensor) -> None:
    """Assert that with the weights of a head, the logits of the levels are those expected."""
    with torch.no_grad():
        weights = zip(head.weight.split(CLASSES), head.bias.split(CLASSES), strict=True)
        for classifier, (weight, bias) in zip(own.classifiers, weights, strict=True):
            classifier.weight.copy_(weight)
            classifier.bias.copy_(bias)
        logits = torch.cat(own(features).logits, dim=1)
    upsampled = F.interpolate(logits, expected.shape[-2:], mode="bilinear", align_corners=True)
    torch.testing.assert_close(upsampled, expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 1e-2
