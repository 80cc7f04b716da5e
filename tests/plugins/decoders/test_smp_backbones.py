"""The decoders over segmentation_models_pytorch on a convolutional network, a Swin and a ViT."""

from collections.abc import Sequence
from functools import cache
from itertools import cycle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tests.support.timm_models  # noqa: F401 (registers tiny_swin)
from hieraseg import registry
from hieraseg.model.segmentation import EncoderDecoder
from hieraseg.testing.capturing import assert_capturable

CLASSES = [2, 3, 7]
ODD = (65, 97)
SETTINGS: dict[str, dict[str, Any]] = {
    "deeplabv3plus": {"width": 8},
    "dpt": {"width": 8, "widths": [8, 8, 12]},
    "fpn": {"pyramid_width": 8, "width": 32},
    "linknet": {"width": 8},
    "manet": {"widths": [12, 8], "attention_width": 8, "reduction": 4},
    "pan": {"width": 8},
    "segformer": {"width": 8},
    "unet": {"widths": [12, 8]},
    "unetplusplus": {"widths": [12, 8]},
    "upernet": {"width": 8},
}
every_decoder = pytest.mark.parametrize("decoder", SETTINGS)
MODELS = ["test_convnext", "tiny_swin", "test_vit"]
every_backbone = pytest.mark.parametrize("model", MODELS)


@cache
def backbone(model: str) -> Any:
    torch.manual_seed(0)
    return registry.backbones.get("timm")(model)


def build(model: str, decoder: str, **settings: Any) -> EncoderDecoder:
    body = backbone(model)
    torch.manual_seed(1)
    head = registry.decoders.get(decoder)(
        channels=body.channels,
        strides=body.strides,
        num_classes=CLASSES,
        **SETTINGS[decoder],
        **settings,
    )
    return EncoderDecoder(body, head).train()


@every_backbone
@every_decoder
def test_odd_images_train_every_parameter(model: str, decoder: str) -> None:
    built = build(model, decoder, embedding_channels=4)
    prediction = built(torch.rand(2, 3, *ODD))
    outputs = [*prediction.logits, prediction.embedding]
    assert [tuple(one.shape) for one in prediction.logits] == [(2, n, *ODD) for n in CLASSES]
    assert all(one.isfinite().all() for one in outputs)
    total = torch.stack([(one * torch.randn(one.shape)).sum() for one in outputs]).sum()
    named = dict(built.named_parameters())
    gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    missing = {key for key, one in zip(named, gradients, strict=True) if one is None}
    # DeepLabV3+ uses two stages. The others are not part of a chain only in the pyramid of a ViT.
    unused = ("scaled.1.", "projected.1.", "projected.2.") if decoder == "deeplabv3plus" else ()
    assert all(
        key.startswith(tuple(f"backbone.pyramid.{one}" for one in unused)) for key in missing
    )


@pytest.mark.slow
@pytest.mark.parametrize(("decoder", "model"), list(zip(SETTINGS, cycle(MODELS), strict=False)))
def test_models_can_be_captured(decoder: str, model: str) -> None:
    """At odd sizes, which are resized; backbones and decoders are also checked by themselves."""
    built = build(model, decoder, dropout=0.1, embedding_channels=4)

    def call(built: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
        prediction = built(inputs[0])
        return [*prediction.logits, prediction.embedding]

    assert_capturable(built, call, [torch.rand(2, 3, *ODD)])
