"""Color jitter and noise, against torchvision."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from hieraseg.data.sampling import generator
from hieraseg.draws import Draws
from hieraseg_plugins.transforms.photometric import Photometric
from tests.support.augmentation import changed_by, fix_random_numbers, random_batch

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
    images, _ = random_batch()
    images = (images * 0.5 + 50).byte()  # nothing is cut off at black or white
    changed = _jittered(monkeypatch, share, images, **{change: 0.2})
    expected = PHOTOMETRIC[change](images.float() / 255, 1 + 0.2 * (2 * share - 1))
    torch.testing.assert_close(changed, expected, rtol=0, atol=2e-3)
    assert (changed - images / 255).abs().max() > 0.005


def _jittered(
    monkeypatch: pytest.MonkeyPatch, share: float, images: Tensor, **changes: float
) -> Tensor:
    """Apply color jitter at this fraction of its range."""
    none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    jitter = Photometric(probability=1, **{**none, **changes})

    # The second number chooses noise below 0.5, else color jitter.
    def rand(*size: int, generator: torch.Generator) -> Tensor:
        numbers = torch.full(size, share)
        numbers[:, 1] = 0.9
        return numbers

    monkeypatch.setattr(torch, "rand", rand)
    return changed_by(jitter, images, generator(0, 0))


def test_hue_rotates_colors_like_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = random_batch()
    images = (images * 0.5 + 50).byte()
    before = images.float() / 255
    gray = torch.tensor([0.299, 0.587, 0.114])[:, None, None]

    def chroma(difference: Tensor) -> Tensor:
        return difference - (difference * gray).sum(1, keepdim=True)

    for share in (0.0, 0.3, 0.8):
        changed = _jittered(monkeypatch, share, images, hue=0.05)
        assert ((changed - before) * gray).sum(1).abs().max() < 2e-3, "the brightness changes"
        # torchvision changes the hue of HSV and so the brightness: only colors are compared.
        ours = chroma(changed - before)
        theirs = chroma(tv.adjust_hue(before, 0.05 * (2 * share - 1)) - before)
        # Ours rotates in the other direction, which is equivalent as the range is symmetric.
        assert float((ours * theirs).sum() / ours.norm() / theirs.norm()) < -0.85
        assert 0.8 < float(ours.norm() / theirs.norm()) < 1.4


def test_without_noise_all_chosen_images_are_jittered() -> None:
    images, _ = random_batch(64)
    for probability in (1.0, 0.5):
        jitter = Photometric(probability=probability, noise=0)
        difference = changed_by(jitter, images, generator(0, 0)) - images / 255
        share = (difference.abs().amax((1, 2, 3)) > 1e-3).float().mean()
        assert abs(float(share) - probability) < 0.2
        assert (difference == 0).flatten(1).all(1).float().mean() == 1 - share


def test_noise_has_the_documented_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    fix_random_numbers(monkeypatch, 0.4)
    changed = changed_by(Photometric(probability=1, noise=0.1), images, generator(0, 0))
    noise = changed - 128 / 255
    assert abs(float(noise.std()) - 0.04) < 0.001
    assert abs(float(noise.mean())) < 0.001
    assert abs(float((noise[0] * noise[1]).mean())) < 1e-4, "two images have the same noise"


def test_noise_differs_between_processes_as_between_images() -> None:
    pixels = torch.full((1, 3, 8, 8), 128 / 255)
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    change = Photometric(probability=1)
    noised = 0
    for step in range(20):
        parts = [
            change(pixels, masks, Draws(generator(0, 1, step), 2, rank, 2))[0] for rank in (0, 1)
        ]
        both = pixels.repeat(2, 1, 1, 1), masks.repeat(2, 1, 1)
        assert torch.equal(torch.cat(parts), change(*both, Draws(generator(0, 1, step), 2))[0])
        if all(part.std() > 0.002 for part in parts):
            noised += 1
            assert not torch.equal(*[(part - 128 / 255).sign() for part in parts])
    assert noised > 0
