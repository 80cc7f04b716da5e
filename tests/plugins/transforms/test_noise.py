"""Gaussian noise."""

import pytest
import torch

from hieraseg import Draws
from hieraseg.data.sampling import generator
from hieraseg_plugins.transforms.noise import Noise

GRAY = torch.full((6, 3, 40, 50), 0.5)
MASKS = torch.zeros(6, 40, 50).byte()


def noise(transform: Noise, step: int = 0) -> torch.Tensor:
    """What is added to gray images."""
    images, masks = transform(GRAY, MASKS, Draws(generator(3, step), len(GRAY)))
    assert torch.equal(masks, MASKS)
    return images - GRAY


def test_standard_deviation() -> None:
    added = noise(Noise(1.0, (0.05, 0.05)))
    assert added.std((1, 2, 3)).tolist() == pytest.approx([0.05] * 6, rel=0.05)
    assert added.mean((1, 2, 3)).tolist() == pytest.approx([0] * 6, abs=2e-3)
    between = noise(Noise(1.0, (0.02, 0.08))).std((1, 2, 3))
    assert between.min() > 0.019
    assert between.max() < 0.084
    assert between.max() > 1.2 * between.min()


def test_images_steps_and_pixels_have_noise_of_their_own() -> None:
    added = noise(Noise(1.0, (0.05, 0.05)))
    flat = torch.cat([added, noise(Noise(1.0, (0.05, 0.05)), step=1)]).flatten(1)
    correlation = torch.corrcoef(flat) - torch.eye(len(flat))
    assert correlation.abs().max() < 0.06
    channels = torch.corrcoef(added.movedim(1, 0).flatten(1)) - torch.eye(3)
    assert channels.abs().max() < 0.06


def test_share_of_images_with_noise() -> None:
    changed = sum(
        int((noise(Noise(0.25), step).flatten(1) != 0).any(1).sum()) for step in range(100)
    )
    assert changed / 600 == pytest.approx(0.25, abs=0.06)
