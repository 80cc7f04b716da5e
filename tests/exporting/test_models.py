"""Shipped models, activations and inference rules as exported files."""

import inspect
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn

from hieraseg import registry
from hieraseg.exporting.capturing import ExportError, capture
from hieraseg.exporting.checking import cases, compare
from hieraseg.exporting.formats import FORMATS
from hieraseg.exporting.module import ExportableModel, output_names
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.segmentation import EncoderDecoder, SegmentationModel, WholeModel
from hieraseg.settings import Input
from tests.support.tiny_model import TwoConvolutions

pytestmark = pytest.mark.slow
HIERARCHY = registry.hierarchies.get("pascal_part")()
SIZES = ((64, 64), (33, 90), (1, 1))
SWIN = "swin_tiny_patch4_window7_224"


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace has sizes that are no `int`."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def built(factory: Any, **arguments: Any) -> Any:
    """A component with those of the arguments that its signature has."""
    known = inspect.signature(factory).parameters
    return factory(**{name: one for name, one in arguments.items() if name in known})


def segmenter(
    model: SegmentationModel, activation: Any = "sigmoid", rule: str = "best_path"
) -> Segmenter:
    chosen = built(registry.inference.get(rule), hierarchy=HIERARCHY)
    resizing = Input(size=(64, 96), resize="none")
    return Segmenter(model.eval(), activation, chosen, HIERARCHY, input=resizing)


def encoder_decoder(backbone: Any, decoder: str, levels: int = 3) -> SegmentationModel:
    made: nn.Module = built(
        registry.decoders.get(decoder),
        channels=list(backbone.channels),
        strides=list(backbone.strides),
        num_classes=HIERARCHY.num_classes[-levels:],
        width=64,
    )
    return EncoderDecoder(backbone, made)


def agreed(
    format: str, segmenter: Segmenter, size: tuple[int, int] | None, folder: Path
) -> tuple[float, float, float]:
    """Largest difference of scores, and shares of equal and of consistent classes."""
    model: Any = segmenter.model
    program = capture(ExportableModel(segmenter, model.stride), size)
    names = output_names(len(model(torch.zeros(1, 3, 64, 96)).logits), HIERARCHY.num_levels)
    path = folder / f"a{FORMATS[format].suffix}"
    FORMATS[format].write(program, names, path)
    rng = np.random.default_rng(0)
    sizes = SIZES if size is None else (size,)
    images = [rng.integers(0, 256, (*one, 3), np.uint8) for one in sizes]
    pairs = [(image, size or (40, 30)) for image in images]
    found = compare(FORMATS[format].open(path), segmenter, cases(pairs, size is None), size is None)
    return found.difference, found.equal, found.consistent


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("activation", "levels", "rule"),
    [
        ("softmax", 3, "independent"),
        ("sigmoid", 3, "best_path"),
        ("sibling_softmax", 3, "top_down"),
        ("descendant_max", 3, "bottom_up"),
        ("leaf_softmax", 3, "marginal"),
        ("leaf_softmax", 1, "marginal"),
        ("sigmoid", 1, "best_path"),
    ],
)
def test_activations_and_rules(
    activation: str, levels: int, rule: str, format: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = encoder_decoder(TwoConvolutions(), "linear", levels)
    difference, equal, consistent = agreed(
        format, segmenter(model, activation, rule), None, tmp_path
    )
    assert difference < 1e-5
    assert equal > 0.995
    assert consistent == 1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("backbone", "decoder"),
    [
        (("efficientnet_lite", {}), "skip"),
        (("resnet50", {}), "linear"),
        (("timm", {"model": "test_resnet"}), "hyperbolic"),
        (("timm", {"model": "test_convnext"}), "unet"),
        (("timm", {"model": "test_convnext"}), "fpn"),
        (("timm", {"model": "test_vit"}), "segformer"),
        (("timm", {"model": "test_resnet"}), "deeplabv3plus"),
    ],
)
def test_models_for_any_size(
    backbone: tuple[str, dict[str, Any]], decoder: str, format: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    made = registry.backbones.get(backbone[0])(**backbone[1])
    model = encoder_decoder(made, decoder)
    difference, _, consistent = agreed(format, segmenter(model), None, tmp_path)
    assert difference < 1e-4
    assert consistent == 1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("backbone", "decoder"), [(SWIN, "linear"), ("test_resnet", "upernet")])
def test_models_for_one_size(backbone: str, decoder: str, format: str, tmp_path: Path) -> None:
    """Windows and average pooling divide the image by its size."""
    torch.manual_seed(0)
    made = registry.backbones.get("timm")(model=backbone)
    one = segmenter(encoder_decoder(made, decoder))
    with pytest.raises(ExportError, match="depends on the size of the image"):
        agreed(format, one, None, tmp_path)
    difference, _, consistent = agreed(format, one, (64, 96), tmp_path)
    assert difference < 1e-4
    assert consistent == 1


@pytest.mark.parametrize("format", FORMATS)
def test_a_whole_model(format: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = registry.backbones.get("timm")(model="test_resnet")
    network = registry.models.get("coarse_to_fine")(
        backbone=backbone, num_classes=HIERARCHY.num_classes, width=16
    )
    difference, _, consistent = agreed(
        format, segmenter(WholeModel(network), "softmax"), None, tmp_path
    )
    assert difference < 1e-4
    assert consistent == 1
