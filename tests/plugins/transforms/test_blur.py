"""Gaussian blur, against torchvision."""

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from hieraseg.data.sampling import generator
from hieraseg_plugins.transforms.blur import Blur
from tests.support.augmentation import changed_by, fix_random_numbers


@pytest.mark.parametrize(("share", "sigma"), [(0.0, 0.4), (0.5, 0.95), (0.99, 1.489)])
def test_against_torchvision(monkeypatch: pytest.MonkeyPatch, share: float, sigma: float) -> None:
    images = (torch.rand(3, 3, 24, 32) * 255).byte()
    fix_random_numbers(monkeypatch, share)
    changed = changed_by(Blur(probability=1, sigma=(0.4, 1.5)), images, generator(0, 0))
    expected = tv.gaussian_blur(images.float() / 255, [7, 7], [sigma, sigma])
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-4)


def test_tiny_images() -> None:
    images = (torch.rand(2, 3, 2, 1) * 255).byte()
    changed = changed_by(Blur(probability=1), images, generator(0, 0))
    assert torch.equal(changed, images / 255)
