"""Augmentation: reproducible, within its range, and of the documented probability."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hieraseg.data.augmentation import Augmentation
from hieraseg.data.sampling import generator
from hieraseg.processes import own_share
from tests.support.augmentation import LEFT_RIGHT, OFF, only, random_batch


def test_without_transforms_images_are_scaled_and_masks_kept() -> None:
    images, masks = random_batch()
    changed, labels = only()(images, masks, generator(0, 1, 1))
    assert torch.equal(changed, images.float() / 255)
    assert torch.equal(labels, masks)


def test_transforms_depend_on_seed_epoch_and_step() -> None:
    images, masks = random_batch()
    augment = Augmentation()

    def once(*key: int) -> tuple[Tensor, Tensor]:
        return augment(images, masks, generator(*key))

    first = once(1, 2, 3)
    torch.manual_seed(77)
    torch.rand(5)
    state = torch.get_rng_state()
    again = once(1, 2, 3)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not used"
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not torch.equal(once(*other)[0], first[0])


@pytest.mark.parametrize("images", [2, 5, 8])
@pytest.mark.parametrize("processes", [2, 3])
def test_transforms_do_not_depend_on_the_number_of_processes(images: int, processes: int) -> None:
    """Noise included, also if the batch cannot be divided evenly."""
    pixels, masks = random_batch(images)
    augment = Augmentation(crop=0.9, flip=0.5, affine=0.9, photometric=1, blur=0.9, noise=0.5)
    whole = augment(pixels, masks, generator(4, 1, 1))
    for rank in range(processes):
        share = own_share(torch.arange(images), rank, processes)
        part = augment(pixels[share], masks[share], generator(4, 1, 1), rank, processes)
        torch.testing.assert_close(part[0], whole[0][share], rtol=0, atol=1e-5)
        assert torch.equal(part[1], whole[1][share])


def test_inputs_are_not_modified() -> None:
    images, masks = random_batch()
    before = images.clone(), masks.clone()
    every = Augmentation(1, 1, 1, 1, 1)
    for augment in (every, only(), only(photometric=1, noise=0.5), only(blur=1)):
        for step in range(4):
            augment(images, masks, generator(0, 0, step))
    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])


def test_results_stay_in_range() -> None:
    images, masks = random_batch(8)
    images[:4] = torch.where(images[:4] > 127, 255, 0).byte()
    masks[masks == 3] = 255
    augment = Augmentation(
        1, 0.5, 1, 1, 1, brightness=1, contrast=1, saturation=1, hue=0.5, noise=1, rotate=180
    )
    known = set(masks.unique().tolist())
    for step in range(10):
        changed, labels = augment(images, masks, generator(0, 1, step))
        assert changed.isfinite().all()
        assert changed.dtype == torch.float32
        assert changed.min() >= -1e-5
        assert changed.max() <= 1 + 1e-5
        assert labels.dtype == torch.uint8
        assert set(labels.unique().tolist()) <= known


@pytest.mark.parametrize("change", list(OFF))
@pytest.mark.parametrize("probability", [0.25, 0.8])
def test_transforms_have_the_documented_probability(change: str, probability: float) -> None:
    images = (torch.rand(2000, 3, 4, 4) * 255).byte()
    masks = torch.zeros(2000, 4, 4, dtype=torch.uint8)
    strong = {"crop_scale": (0.1, 0.3), "blur_sigma": (1.0, 1.5), "noise": 1.0}
    augment = only(**{change: probability}, **strong)
    changed, _ = augment(images, masks, generator(0, 0))
    share = ((changed - images / 255).abs().amax((1, 2, 3)) > 1e-3).float().mean()
    assert abs(float(share) - probability) < 4 * math.sqrt(probability * (1 - probability) / 2000)


def test_transforms_are_independent() -> None:
    """Each of the four combinations of two transforms of probability 1/2 has probability 1/4."""
    images = torch.zeros(2000, 3, 16, 16, dtype=torch.uint8)
    images[..., :4] = 200
    masks = torch.zeros(2000, 16, 16, dtype=torch.uint8)
    masks[..., :8] = 1
    changed, labels = only(flip=0.5, blur=0.5, blur_sigma=(1, 1.5))(images, masks, generator(5, 0))
    flipped = labels[:, 0, 0] == 0
    row = changed[:, 0, 8]
    blurred = ((row > 0.01) & (row < 0.77)).any(1)
    counts = (2 * flipped + blurred.int()).bincount(minlength=4)
    assert counts.min() > 420
    assert counts.max() < 580


@pytest.mark.parametrize(
    "values",
    [
        {"crop": 1.5},
        {"flip": -0.1},
        {"affine": 2},
        {"photometric": float("nan")},
        {"blur": -1},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.9, 0.8)},
        {"crop_scale": (0.8, 1.2)},
        {"crop_ratio": (0.0, 1.0)},
        {"crop_ratio": (2.0, 1.0)},
        {"rotate": -1.0},
        {"rotate": math.inf},
        {"scale": 1.0},
        {"scale": -0.1},
        {"shift": -0.1},
        {"brightness": 1.1},
        {"contrast": -0.2},
        {"saturation": 2},
        {"hue": -0.1},
        {"noise": -0.05},
        {"blur_sigma": (0.0, 1.0)},
        {"blur_sigma": (2.0, 1.0)},
    ],
)
def test_arguments_out_of_range(values: dict[str, Any]) -> None:
    (key,) = values
    with pytest.raises(ValueError, match=f"^{key} must be .*, got ") as caught:
        Augmentation(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu() -> None:
    images, masks = random_batch(16, 64, 48)
    augment = Augmentation(crop=0.8, affine=0.8, photometric=0.8, blur=0.8, noise=0)
    for step in range(5):
        mirrored = LEFT_RIGHT.mirrored_labels
        expected = augment(images, masks, generator(0, 1, step), mirrored_labels=mirrored)
        on_device = augment(
            images.cuda(), masks.cuda(), generator(0, 1, step), mirrored_labels=mirrored.cuda()
        )
        difference = (on_device[0].cpu() - expected[0]).abs()
        assert difference.mean() < 1e-4
        assert difference.max() < 0.02
        # Samples halfway between two pixels may be rounded to either.
        assert (on_device[1].cpu() == expected[1]).float().mean() > 0.999
