"""Color jitter, noise and blur, against torchvision."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from hieraseg.data.sampling import generator
from tests.support.augmentation import fix_random_numbers, only, random_batch

PHOTOMETRIC = {
    "brightness": tv.adjust_brightness,
    "contrast": tv.adjust_contrast,
    "saturation": tv.adjust_saturation,
}


@pytest.mark.parametrize("change", PHOTOMETRIC)
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_color_jitter_against_torchvision(
    monkeypatch: pytest.MonkeyPatch, change: str, share: float
) -> None:
    images, masks = random_batch()
    images = (images * 0.5 + 50).byte()  # nothing is cut off at black or white
    changed = _jittered(monkeypatch, share, images, masks, **{change: 0.2})
    expected = PHOTOMETRIC[change](images.float() / 255, 1 + 0.2 * (2 * share - 1))
    torch.testing.assert_close(changed, expected, rtol=0, atol=2e-3)
    assert (changed - images / 255).abs().max() > 0.005


def _jittered(
    monkeypatch: pytest.MonkeyPatch, share: float, images: Tensor, masks: Tensor, **changes: float
) -> Tensor:
    """Apply color jitter at this fraction of its range."""
    none = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    augment = only(photometric=1, **{**none, **changes})

    # The second number of the photometric ones chooses noise below 0.5, else color jitter.
    def rand(*size: int, generator: torch.Generator) -> Tensor:
        numbers = torch.full(size, share)
        numbers[:, 12] = 0.9
        return numbers

    monkeypatch.setattr(torch, "rand", rand)
    return augment(images, masks, generator(0, 0))[0]


def test_hue_rotates_colors_like_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    images, masks = random_batch()
    images = (images * 0.5 + 50).byte()
    before = images.float() / 255
    gray = torch.tensor([0.299, 0.587, 0.114])[:, None, None]

    def chroma(difference: Tensor) -> Tensor:
        return difference - (difference * gray).sum(1, keepdim=True)

    for share in (0.0, 0.3, 0.8):
        changed = _jittered(monkeypatch, share, images, masks, hue=0.05)
        assert ((changed - before) * gray).sum(1).abs().max() < 2e-3, "the brightness changes"
        # torchvision changes the hue of HSV and so the brightness: only colors are compared.
        ours = chroma(changed - before)
        theirs = chroma(tv.adjust_hue(before, 0.05 * (2 * share - 1)) - before)
        # Ours rotates in the other direction, which is equivalent as the range is symmetric.
        assert float((ours * theirs).sum() / ours.norm() / theirs.norm()) < -0.85
        assert 0.8 < float(ours.norm() / theirs.norm()) < 1.4


def test_noise_has_the_documented_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    masks = torch.zeros(4, 64, 64, dtype=torch.uint8)
    fix_random_numbers(monkeypatch, 0.4)
    changed, _ = only(photometric=1, noise=0.1)(images, masks, generator(0, 0))
    noise = changed - 128 / 255
    assert abs(float(noise.std()) - 0.04) < 0.001
    assert abs(float(noise.mean())) < 0.001
    assert abs(float((noise[0] * noise[1]).mean())) < 1e-4, "two images have the same noise"


def test_noise_differs_between_processes_as_between_images() -> None:
    pixels = torch.full((1, 3, 8, 8), 128, dtype=torch.uint8)
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    augment = only(photometric=1)
    noised = 0
    for step in range(20):
        parts = [augment(pixels, masks, generator(0, 1, step), r, 2)[0] for r in (0, 1)]
        both = pixels.repeat(2, 1, 1, 1), masks.repeat(2, 1, 1)
        assert torch.equal(torch.cat(parts), augment(*both, generator(0, 1, step))[0])
        if all(part.std() > 0.002 for part in parts):
            noised += 1
            assert not torch.equal(*[(part - 128 / 255).sign() for part in parts])
    assert noised > 0


@pytest.mark.parametrize(("share", "sigma"), [(0.0, 0.4), (0.5, 0.95), (0.99, 1.489)])
def test_blur_against_torchvision(
    monkeypatch: pytest.MonkeyPatch, share: float, sigma: float
) -> None:
    images, masks = random_batch(3)
    images = (torch.rand(3, 3, 24, 32) * 255).byte()
    fix_random_numbers(monkeypatch, share)
    changed, labels = only(blur=1, blur_sigma=(0.4, 1.5))(images, masks, generator(0, 0))
    expected = tv.gaussian_blur(images.float() / 255, [7, 7], [sigma, sigma])
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-4)
    assert torch.equal(labels, masks)


def test_blur_of_tiny_images() -> None:
    images = (torch.rand(2, 3, 2, 1) * 255).byte()
    changed, _ = only(blur=1)(images, torch.zeros(2, 2, 1).byte(), generator(0, 0))
    assert torch.equal(changed, images / 255)
