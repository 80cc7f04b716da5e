"""Backbone and decoder as one model."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# In a process of its own, as torch.compile would trace the shape checks of the tests too.
_COMPILE = """
import torch
from torch import nn
from hieraseg import Prediction
from hieraseg.model.segmentation import EncoderDecoder

class Backbone(nn.Conv2d):
    mean = std = (0.5, 0.5, 0.5)
    strides = [2]
    def forward(self, image):
        return [super().forward(image)]

class Decoder(nn.Module):
    def forward(self, pyramid):
        return Prediction((pyramid[0][:, :2], pyramid[0][:, 2:]), embedding=pyramid[0])

class Auxiliary(nn.Module):
    def forward(self, pyramid):
        return pyramid[0][:, 1:3], pyramid[0][:, :3]

model = EncoderDecoder(Backbone(3, 5, 3, stride=2, padding=1), Decoder(), Auxiliary())
image = torch.rand(2, 3, 8, 12)
compiled = torch.compile(model, backend="eager", fullgraph=True)(image)
expected = model(image)
assert isinstance(compiled, Prediction)
assert compiled.logits[1].shape == (2, 3, 8, 12)
torch.testing.assert_close(compiled.logits, expected.logits)
torch.testing.assert_close(compiled.embedding, expected.embedding)
torch.testing.assert_close(compiled.auxiliary, expected.auxiliary)
assert compiled.auxiliary[0].shape == (2, 2, 8, 12)
"""


@pytest.mark.slow  # tests/training/test_capture.py traces models with an auxiliary head, too
def test_torch_compile_traces_the_whole_model() -> None:
    command = [sys.executable, "-c", _COMPILE]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
