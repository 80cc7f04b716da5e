"""Random changes of stretched images: reproducible, and of the documented probability."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hieraseg.data.batches.stretching import Stretching
from hieraseg.data.batches.views import transform
from hieraseg.data.sampling import generator
from hieraseg.draws import Draws
from hieraseg.processes import own_share
from hieraseg.recipe.conflicts import augmentation_conflicts as conflicts
from hieraseg.settings import Augmentation, Input
from hieraseg_plugins.transforms.blur import Blur
from hieraseg_plugins.transforms.photometric import Photometric
from tests.support.augmentation import LEFT_RIGHT, OFF, random_batch, stretched

USUAL = Augmentation(crop=0.9, flip=0.5, affine=0.9, scale=(0.85, 1.15), rotate=30, shift=0.1)
TRANSFORMS = (Photometric(probability=1, noise=0.5), Blur(probability=0.7))


def augmented(
    images: Tensor,
    masks: Tensor,
    random: torch.Generator,
    rank: int = 0,
    processes: int = 1,
    settings: Augmentation = USUAL,
) -> tuple[Tensor, Tensor]:
    """A batch after all random changes."""
    draws = Draws(random, len(images) * processes, rank, processes, images.device)
    pixels, labels = Stretching(settings, LEFT_RIGHT)(images, masks, draws)
    return transform(TRANSFORMS, pixels, labels, draws)


def test_without_changes_images_are_scaled_and_masks_kept() -> None:
    images, masks = random_batch()
    changed, labels = stretched(images, masks, generator(0, 1, 1))
    assert torch.equal(changed, images.float() / 255)
    assert torch.equal(labels, masks)


def test_changes_depend_on_seed_epoch_and_step() -> None:
    images, masks = random_batch()
    first = augmented(images, masks, generator(1, 2, 3))
    torch.manual_seed(77)
    torch.rand(5)
    state = torch.get_rng_state()
    again = augmented(images, masks, generator(1, 2, 3))
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not used"
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not torch.equal(augmented(images, masks, generator(*other))[0], first[0])


@pytest.mark.parametrize("images", [2, 5, 8])
@pytest.mark.parametrize("processes", [2, 3])
def test_changes_do_not_depend_on_the_number_of_processes(images: int, processes: int) -> None:
    """Noise included, also if the batch cannot be divided evenly."""
    pixels, masks = random_batch(images)
    whole = augmented(pixels, masks, generator(4, 1, 1))
    for rank in range(processes):
        share = own_share(torch.arange(images), rank, processes)
        part = augmented(pixels[share], masks[share], generator(4, 1, 1), rank, processes)
        torch.testing.assert_close(part[0], whole[0][share], rtol=0, atol=1e-5)
        assert torch.equal(part[1], whole[1][share])


def test_inputs_are_not_modified() -> None:
    images, masks = random_batch()
    before = images.clone(), masks.clone()
    for step in range(4):
        augmented(images, masks, generator(0, 0, step))
        stretched(images, masks, generator(0, 0, step))
    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])


def test_results_stay_in_range() -> None:
    images, masks = random_batch(8)
    images[:4] = torch.where(images[:4] > 127, 255, 0).byte()
    masks[masks == 3] = 255
    known = {*masks.unique().tolist(), *range(1, 5)}
    settings = Augmentation(crop=1, affine=1, rotate=180)
    for step in range(10):
        changed, labels = augmented(images, masks, generator(0, 1, step), settings=settings)
        assert changed.isfinite().all()
        assert changed.dtype == torch.float32
        assert changed.min() >= -1e-5
        assert changed.max() <= 1 + 1e-5
        assert labels.dtype == torch.uint8
        assert set(labels.unique().tolist()) <= known


@pytest.mark.parametrize("change", list(OFF))
@pytest.mark.parametrize("probability", [0.25, 0.8])
def test_changes_have_the_documented_probability(change: str, probability: float) -> None:
    images = (torch.rand(2000, 3, 4, 4) * 255).byte()
    masks = torch.zeros(2000, 4, 4, dtype=torch.uint8)
    strong: dict[str, Any] = {"crop_scale": (0.1, 0.3), "scale": (1.5, 2.0), "rotate": 30}
    changed, _ = stretched(images, masks, generator(0, 0), **{change: probability}, **strong)
    share = ((changed - images / 255).abs().amax((1, 2, 3)) > 1e-3).float().mean()
    assert abs(float(share) - probability) < 4 * math.sqrt(probability * (1 - probability) / 2000)


def test_changes_are_independent() -> None:
    """Each of the four combinations of two changes of probability 1/2 has probability 1/4."""
    images = torch.zeros(2000, 3, 16, 16, dtype=torch.uint8)
    images[..., :4] = 200
    masks = torch.zeros(2000, 16, 16, dtype=torch.uint8)
    masks[..., :8] = 1
    draws = Draws(generator(5, 0), 2000)
    flip = Stretching(Augmentation(**{**OFF, "flip": 0.5}), LEFT_RIGHT)
    blur = Blur(probability=0.5, sigma=(1, 1.5))
    changed, labels = transform([blur], *flip(images, masks, draws), draws)
    flipped = labels[:, 0, 0] == 0
    row = changed[:, 0, 8]
    blurred = ((row > 0.01) & (row < 0.77)).any(1)
    counts = (2 * flipped + blurred.int()).bincount(minlength=4)
    assert counts.min() > 420
    assert counts.max() < 580


def test_another_transform_at_the_end_leaves_those_before_it() -> None:
    images, masks = random_batch(12)
    results = []
    for transforms in (TRANSFORMS, TRANSFORMS[:1]):
        draws = Draws(generator(1, 1, 1), len(images))
        results.append(transform(transforms, images / 255, masks, draws)[0])
    both, jittered = results
    sharp = (both == jittered).flatten(1).all(1)
    assert 0 < sharp.sum() < len(images), "images that are not blurred are the same"


@pytest.mark.parametrize(
    "values",
    [
        {"crop": 1.5},
        {"flip": -0.1},
        {"affine": 2},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.9, 0.8)},
        {"crop_scale": (0.8, 1.2)},
        {"crop_ratio": (0.0, 1.0)},
        {"crop_ratio": (2.0, 1.0)},
        {"crop_tries": 0},
        {"rotate": -1.0},
        {"rotate": math.inf},
        {"scale": (0.0, 1.0)},
        {"scale": (2.0, 0.5)},
        {"shift": -0.1},
    ],
)
def test_arguments_out_of_range(values: dict[str, Any]) -> None:
    (key,) = values
    with pytest.raises(ValueError, match=f"^{key} must be .*, got ") as caught:
        Augmentation(**values)
    assert "\n" not in str(caught.value)


def test_arguments_that_do_not_go_with_the_input() -> None:
    assert conflicts(Input(), Augmentation(crop=0.5)) == {}
    assert conflicts(Input(resize="shorter"), Augmentation(crop_tries=5)) == {}
    for resize in ("shorter", "longer", "none"):
        assert list(conflicts(Input(resize=resize), Augmentation(crop=0.5))) == ["crop"]
    assert list(conflicts(Input(), Augmentation(crop=0.5, crop_tries=2))) == ["crop_tries"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu() -> None:
    images, masks = random_batch(16, 64, 48)
    for step in range(5):
        results = []
        for device in ("cpu", "cuda"):
            draws = Draws(generator(0, 1, step), 16, device=device)
            pixels, labels = images.to(device), masks.to(device)
            results.append(Stretching(USUAL, LEFT_RIGHT)(pixels, labels, draws))
        difference = (results[1][0].cpu() - results[0][0]).abs()
        assert difference.mean() < 1e-4
        assert difference.max() < 0.02
        # Samples halfway between two pixels may be rounded to either.
        assert (results[1][1].cpu() == results[0][1]).float().mean() > 0.999
