"""Contract tests of the decoders over segmentation_models_pytorch (see `hieraseg.testing`)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hieraseg import registry
from hieraseg.testing import DecoderContract
from hieraseg.testing.component import Arguments
from hieraseg.testing.decoders import Pyramid

COMPILE = "test_compiled_matches_eager"


@pytest.fixture(autouse=True)
def compiled_elsewhere(request: pytest.FixtureRequest) -> None:
    """torch.compile would also trace the shape checks of each function, which takes minutes."""
    if request.node.originalname == COMPILE and "tests.support.shapes" in sys.modules:
        pytest.skip("checked by test_compiled_decoders")


@pytest.mark.slow
def test_compiled_decoders() -> None:
    """Run the suites' tests of torch.compile in a process without shape checks."""
    here = Path(__file__)
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-k", COMPILE, str(here)]
    environment = {**os.environ, "PYTHONPATH": str(here.parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


class Suite(DecoderContract):
    """Leaves to `make test-all` what takes a second for each decoder."""

    @pytest.mark.slow
    def test_can_be_captured(self, arguments: Arguments) -> None:
        super().test_can_be_captured(arguments)


class TestDeepLabV3Plus(Suite):
    component = registry.decoders.get("deeplabv3plus")
    settings = ({"width": 8},)


class TestDPT(Suite):
    component = registry.decoders.get("dpt")
    settings = ({"width": 8, "widths": [4, 8]},)


class TestFPN(Suite):
    component = registry.decoders.get("fpn")
    settings = ({"pyramid_width": 8, "width": 32},)


class TestLinkNet(Suite):
    component = registry.decoders.get("linknet")
    settings = ({"width": 8},)


class TestMAnet(Suite):
    component = registry.decoders.get("manet")
    settings = ({"widths": [8, 8, 4], "reduction": 2, "attention_width": 8},)


class TestPAN(DecoderContract):
    component = registry.decoders.get("pan")
    settings = ({"width": 8},)


class TestSegFormer(Suite):
    component = registry.decoders.get("segformer")
    settings = ({"width": 8},)


class TestUnet(DecoderContract):
    component = registry.decoders.get("unet")
    settings = ({"widths": [8, 8, 4], "heads": "branches", "dropout": 0.5},)


class TestUnetPlusPlus(Suite):
    component = registry.decoders.get("unetplusplus")
    settings = ({"widths": [8, 8, 4]},)


class TestUPerNet(Suite):
    component = registry.decoders.get("upernet")
    settings = ({"width": 8},)


# Further arguments.

WIDE = {"wide": Pyramid((48, 64), (4, 8)), "wide, one stage": Pyramid((64,), (16,))}


@pytest.mark.slow
class TestDenseDeepLabV3Plus(TestDeepLabV3Plus):
    settings = ({"width": 8, "separable": False, "heads": "branches"},)


@pytest.mark.slow
class TestConcatenatingFPN(TestFPN):
    settings = ({"pyramid_width": 8, "width": 32, "merge": "cat", "heads": "branches"},)


@pytest.mark.slow
class TestUnetWithAttention(TestUnet):
    pyramids = WIDE
    settings = ({"widths": [64, 32, 32, 16], "attention": "scse"},)


@pytest.mark.slow
class TestUnetPlusPlusWithAttention(TestUnetPlusPlus):
    pyramids = WIDE
    settings = ({"widths": [64, 32, 32, 16], "attention": "scse"},)


# Further pyramids.

SUITES = [
    *(TestDeepLabV3Plus, TestDPT, TestFPN, TestLinkNet, TestMAnet),
    *(TestPAN, TestSegFormer, TestUnet, TestUnetPlusPlus, TestUPerNet),
]
UNUSUAL = {
    "stride 1": Pyramid((4, 8, 12), (1, 2, 4)),
    "only stride 1": Pyramid((4,), (1,), (17, 25)),
    "equal strides": Pyramid((8, 8, 8, 8), (16, 16, 16, 16)),
    "dilated": Pyramid((4, 8, 8, 8), (4, 8, 8, 8)),
    "a gap": Pyramid((8, 12), (4, 16)),
    "patches of 14": Pyramid((4, 8, 8, 8), (4, 7, 14, 28)),
    "seven stages": Pyramid((4,) * 7, (1, 2, 4, 8, 16, 32, 64)),
}


@pytest.mark.parametrize("pyramid", UNUSUAL.values(), ids=UNUSUAL)
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_unusual_pyramids(suite: type[DecoderContract], pyramid: Pyramid) -> None:
    """Logits for each level, and a gradient for each parameter, even at an odd size."""
    contract = suite()
    decoder = contract.make(contract.settings[0], pyramid).train()
    logits = decoder(pyramid.features(2)).logits
    assert [one.shape[:2] for one in logits] == [(2, n) for n in contract.hierarchy.num_classes]
    total = torch.stack([one.square().sum() for one in logits]).sum()
    gradients = torch.autograd.grad(total, list(decoder.parameters()))
    assert all(one.isfinite().all() for one in gradients)
