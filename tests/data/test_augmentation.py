"""Augmentation: reproducible, aligned with the mask, and of the documented strength."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from hieraseg import Hierarchy
from hieraseg.data.augmentation import Augmentation
from hieraseg.data.sampling import generator
from hieraseg.processes import own_share

OFF: dict[str, Any] = {"crop": 0, "flip": 0, "affine": 0, "photometric": 0, "blur": 0}
CODES = 7


def _only(**changes: Any) -> Augmentation:
    """An augmentation with these transforms only."""
    return Augmentation(**{**OFF, **changes})


def _batch(images: int = 6, height: int = 24, width: int = 32) -> tuple[Tensor, Tensor]:
    """Smooth images and masks of blobs, channels last as in a store."""
    draw = generator(11, 0)
    pixels = torch.rand(images, 3, height // 4, width // 4, generator=draw)
    pixels = torch.nn.functional.interpolate(pixels, (height, width), mode="bilinear")
    masks = torch.randint(0, CODES, (images, height // 4, width // 4), generator=draw)
    masks = masks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    pixels = (pixels * 255).byte().contiguous(memory_format=torch.channels_last)
    return pixels, masks.byte()


def _fixed(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Make every random number this fraction of its range."""

    def rand(*size: int, generator: torch.Generator) -> Tensor:
        return torch.full(size, share)

    monkeypatch.setattr(torch, "rand", rand)


def test_without_transforms_images_are_scaled_and_masks_kept() -> None:
    images, masks = _batch()
    changed, labels = _only()(images, masks, generator(0, 1, 1))
    assert torch.equal(changed, images.float() / 255)
    assert torch.equal(labels, masks)


def test_transforms_depend_on_seed_epoch_and_step() -> None:
    images, masks = _batch()
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
    """Also if the batch cannot be divided evenly."""
    pixels, masks = _batch(images)
    augment = Augmentation(crop=0.9, flip=0.5, affine=0.9, photometric=0.9, blur=0.9, noise=0)
    whole = augment(pixels, masks, generator(4, 1, 1))
    for rank in range(processes):
        share = own_share(torch.arange(images), rank, processes)
        part = augment(pixels[share], masks[share], generator(4, 1, 1), rank, processes)
        torch.testing.assert_close(part[0], whole[0][share], rtol=0, atol=1e-5)
        assert torch.equal(part[1], whole[1][share])


def test_noise_differs_between_processes() -> None:
    pixels = torch.full((1, 3, 8, 8), 128, dtype=torch.uint8)
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    augment = _only(photometric=1)
    noised = 0
    for step in range(20):
        parts = [augment(pixels, masks, generator(0, 1, step), r, 2)[0] for r in (0, 1)]
        if all(part.std() > 0.002 for part in parts):
            noised += 1
            assert not torch.equal(*[(part - 128 / 255).sign() for part in parts])
    assert noised > 0


def test_inputs_are_not_modified() -> None:
    images, masks = _batch()
    before = images.clone(), masks.clone()
    every = Augmentation(1, 1, 1, 1, 1)
    for augment in (every, _only(), _only(photometric=1, noise=0.5), _only(blur=1)):
        for step in range(4):
            augment(images, masks, generator(0, 0, step))
    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])


def test_results_stay_in_range() -> None:
    images, masks = _batch(8)
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


def test_a_flip_is_a_mirror_image() -> None:
    images, masks = _batch()
    changed, labels = _only(flip=1)(images, masks, generator(0, 0))
    torch.testing.assert_close(changed, images.float().flip(-1) / 255, rtol=0, atol=1e-5)
    assert torch.equal(labels, masks.flip(-1))


LEFT_RIGHT = Hierarchy.from_tree(
    {"0": None, "body": {"left": ["1", "2"], "right": ["3", "4"], "5": None}},
    labels={int(leaf): leaf for leaf in "012345"},
    pairs=[("left", "right"), ("1", "4"), ("2", "3")],
)


def test_a_flip_swaps_left_and_right_on_every_level() -> None:
    images, masks = _batch()
    masks[0, :2] = 255
    mirrored = LEFT_RIGHT.mirrored_labels
    augment = _only(flip=1)
    changed, labels = augment(images, masks, generator(0, 0), mirrored_labels=mirrored)
    assert torch.equal(changed, augment(images, masks, generator(0, 0))[0])
    assert labels.dtype == torch.uint8
    found, expected = LEFT_RIGHT.encode(labels), LEFT_RIGHT.encode(masks.flip(-1))
    for level, image in enumerate(LEFT_RIGHT.mirrored):
        classes = expected[:, level]
        swapped = torch.where(classes < 0, classes, image[classes.clamp(min=0)])
        assert torch.equal(found[:, level], swapped)
    outside = masks.flip(-1) > 5
    assert torch.equal(labels[outside], masks.flip(-1)[outside])


def test_only_flipped_images_swap_left_and_right() -> None:
    """The other transforms stay the same, and the whole mask of an image is swapped or none."""
    images, masks = _batch(64)
    mirrored = LEFT_RIGHT.mirrored_labels
    augment = Augmentation(crop=0.5, flip=0.4, affine=0.5, rotate=10)
    plain = augment(images, masks, generator(3, 1))
    paired = augment(images, masks, generator(3, 1), mirrored_labels=mirrored)
    assert torch.equal(paired[0], plain[0])
    swap = torch.cat([mirrored, torch.arange(len(mirrored), 256)]).byte()
    # The random numbers of a flip do not depend on the other transforms.
    flipped = (_only(flip=0.4)(images, masks, generator(3, 1))[1] != masks).any(2).any(1)
    assert 10 < flipped.sum() < 40
    expected = torch.where(flipped[:, None, None], swap[plain[1].long()], plain[1])
    assert torch.equal(paired[1], expected)


@pytest.mark.parametrize("size", [(24, 32), (40, 20)])
def test_image_and_mask_move_together(size: tuple[int, int]) -> None:
    """Images show the color of each label, so every pixel that is not blended shows its label."""
    _, masks = _batch(8, *size)
    codes = torch.randint(0, 256, (CODES, 3), generator=generator(3, 0)).byte()
    images = codes[masks.long()].movedim(-1, 1)
    for step in range(5):
        augment = _only(crop=1, flip=0.5, affine=1, crop_scale=(0.3, 1.0))
        changed, labels = augment(images, masks, generator(2, 0, step))
        difference = changed[:, None] - codes[:, :, None, None] / 255  # image, code, channel
        shown = difference.abs().amax(2) < 1e-4
        pure = shown.any(1)
        assert pure.float().mean() > 0.3
        assert torch.equal(shown.byte().argmax(1)[pure], labels.long()[pure])
        # At a blended pixel the label is the nearest of four, with a weight of at least 1/4.
        own = codes[labels.long()].movedim(-1, 1) / 255
        assert (changed - own).abs().max() <= 0.75 + 1e-4
        assert not torch.equal(labels, masks)


@pytest.mark.parametrize("size", [(48, 48), (40, 64), (64, 36)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.75])
def test_shift_scale_and_rotation_against_torchvision(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], share: float
) -> None:
    images, masks = _batch(2, *size)
    _fixed(monkeypatch, share)
    rotate, scale, shift = 40.0, 0.2, 0.1
    augment = _only(affine=1, rotate=rotate, scale=scale, shift=shift)
    changed, labels = augment(images, masks, generator(0, 0))
    angle, zoom = rotate * (2 * share - 1), 1 + scale * (2 * share - 1)
    height, width = size
    moved = [(2 * share - 1) * shift * side for side in (width, height)]
    # Ours maps output to input pixels: p = R(angle) q / zoom + moved. torchvision maps input to
    # output pixels: q = zoom R(-angle) (p - moved).
    turn = math.radians(angle)
    x = zoom * (math.cos(turn) * -moved[0] + math.sin(turn) * -moved[1])
    y = zoom * (-math.sin(turn) * -moved[0] + math.cos(turn) * -moved[1])

    def oracle(pixels: Tensor, mode: InterpolationMode) -> Tensor:
        return tv.affine(pixels, -angle, [x, y], zoom, [0.0, 0.0], interpolation=mode)

    expected = oracle(images.float() / 255, InterpolationMode.BILINEAR)
    inside = oracle(torch.ones(1, 1, *size), InterpolationMode.BILINEAR)[0, 0] > 0.999
    assert inside.float().mean() > 0.3
    error = (changed - expected).abs().amax((0, 1))[inside]
    assert error.max() < 2e-3
    nearest = oracle(masks[:, None].float(), InterpolationMode.NEAREST)[:, 0].byte()
    assert (labels == nearest)[:, inside].float().mean() > 0.995


@pytest.mark.parametrize("size", [(33, 33), (41, 25)])
def test_a_quarter_and_a_half_turn_are_exact(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """No resampling is needed, so the comparison is exact."""
    images = (torch.rand(2, 3, *size) * 255).byte()
    masks = torch.randint(0, 256, (2, *size)).byte()
    _fixed(monkeypatch, 0.0)  # the lower end of the range: minus the maximum angle
    half, labels = _only(affine=1, rotate=180, scale=0, shift=0)(images, masks, generator(0, 0))
    torch.testing.assert_close(half, images.flip(-1, -2).float() / 255, rtol=0, atol=1e-3)
    assert torch.equal(labels, masks.flip(-1, -2))
    _, labels = _only(affine=1, rotate=90, scale=0, shift=0)(images, masks, generator(0, 0))
    side = min(size)
    rows = slice((size[0] - side) // 2, (size[0] + side) // 2)
    columns = slice((size[1] - side) // 2, (size[1] + side) // 2)
    assert torch.equal(labels[:, rows, columns], masks[:, rows, columns].rot90(-1, (1, 2)))


def test_the_angle_is_uniform_up_to_the_maximum() -> None:
    """The position of a bright spot off the center shows the angle."""
    height, width, away = 61, 121, 20
    images = torch.zeros(400, 3, height, width, dtype=torch.uint8)
    images[
        :, :, height // 2 - 1 : height // 2 + 2, width // 2 + away - 1 : width // 2 + away + 2
    ] = 255
    masks = torch.zeros(400, height, width, dtype=torch.uint8)
    changed, _ = _only(affine=1, rotate=30, scale=0, shift=0)(images, masks, generator(0, 0))
    weight = changed[:, 0] / changed[:, 0].sum((1, 2), keepdim=True)
    y = (weight.sum(2) * (torch.arange(height) - height // 2)).sum(1)
    x = (weight.sum(1) * (torch.arange(width) - width // 2)).sum(1)
    angle = torch.rad2deg(torch.atan2(y, x))
    torch.testing.assert_close(
        torch.hypot(x, y), torch.full((400,), float(away)), rtol=0.02, atol=0
    )
    assert angle.abs().max() < 30.5
    assert angle.max() > 28
    assert angle.min() < -28
    assert abs(float(angle.std()) - 60 / math.sqrt(12)) < 1.5


def _ramps(height: int, width: int, images: int) -> Tensor:
    """Red increases with x and green with y, from 0 at the first pixel to 250 at the last."""
    pixels = torch.zeros(images, 3, height, width)
    pixels[:, 0] = torch.linspace(0, 250, width)
    pixels[:, 1] = torch.linspace(0, 250, height)[:, None]
    return pixels.round().byte()


@pytest.mark.parametrize("scale", [(0.3, 0.6), (0.8, 1.0), (1.0, 1.0)])
def test_the_area_and_the_ratio_of_crops(scale: tuple[float, float]) -> None:
    height, width, images = 126, 251, 300
    pixels = _ramps(height, width, images)
    masks = torch.zeros(images, height, width, dtype=torch.uint8)
    changed, _ = _only(crop=1, crop_scale=scale)(pixels, masks, generator(0, 0))
    red, green = changed[:, 0] * 255 / 250, changed[:, 1] * 255 / 250
    # The slope between two inner pixels is the relative size of the crop.
    across = (red[:, 60, 200] - red[:, 60, 50]) * (width - 1) / 150
    down = (green[:, 100, 100] - green[:, 25, 100]) * (height - 1) / 75
    area, ratio = across * down, across / down
    assert area.min() > scale[0] - 0.02
    assert area.max() < scale[1] + 0.02
    assert area.max() - area.min() >= (scale[1] - scale[0]) * 0.9
    assert across.max() < 1.01
    assert down.max() < 1.01
    assert ratio.min() > 3 / 4 - 0.02
    assert ratio.max() < 4 / 3 + 0.02
    if scale == (0.3, 0.6):
        assert ratio.min() < 0.8
        assert ratio.max() > 1.25
    # Crops lie anywhere inside the image.
    left = red[:, 60, 50] - across * (50 - (width - 1) / 2) / (width - 1) - across / 2
    slack = 1 - across
    assert left.min() > -0.02
    assert (left - slack).max() < 0.02
    if scale[1] < 1:
        assert (left / slack.clamp(min=0.05)).std() > 0.2


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
    images, masks = _batch()
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
    augment = _only(photometric=1, **{**none, **changes})

    # The second number of the photometric ones chooses noise below 0.5, else color jitter.
    def rand(*size: int, generator: torch.Generator) -> Tensor:
        numbers = torch.full(size, share)
        numbers[:, 12] = 0.9
        return numbers

    monkeypatch.setattr(torch, "rand", rand)
    return augment(images, masks, generator(0, 0))[0]


def test_hue_rotates_colors_like_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    images, masks = _batch()
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
    _fixed(monkeypatch, 0.4)
    changed, _ = _only(photometric=1, noise=0.1)(images, masks, generator(0, 0))
    noise = changed - 128 / 255
    assert abs(float(noise.std()) - 0.04) < 0.001
    assert abs(float(noise.mean())) < 0.001
    assert abs(float((noise[0] * noise[1]).mean())) < 1e-4, "two images have the same noise"


@pytest.mark.parametrize(("share", "sigma"), [(0.0, 0.4), (0.5, 0.95), (0.99, 1.489)])
def test_blur_against_torchvision(
    monkeypatch: pytest.MonkeyPatch, share: float, sigma: float
) -> None:
    images, masks = _batch(3)
    images = (torch.rand(3, 3, 24, 32) * 255).byte()
    _fixed(monkeypatch, share)
    changed, labels = _only(blur=1, blur_sigma=(0.4, 1.5))(images, masks, generator(0, 0))
    expected = tv.gaussian_blur(images.float() / 255, [7, 7], [sigma, sigma])
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-4)
    assert torch.equal(labels, masks)


def test_blur_of_tiny_images() -> None:
    images = (torch.rand(2, 3, 2, 1) * 255).byte()
    changed, _ = _only(blur=1)(images, torch.zeros(2, 2, 1).byte(), generator(0, 0))
    assert torch.equal(changed, images / 255)


@pytest.mark.parametrize("change", list(OFF))
@pytest.mark.parametrize("probability", [0.25, 0.8])
def test_transforms_have_the_documented_probability(change: str, probability: float) -> None:
    images = (torch.rand(2000, 3, 4, 4) * 255).byte()
    masks = torch.zeros(2000, 4, 4, dtype=torch.uint8)
    strong = {"crop_scale": (0.1, 0.3), "blur_sigma": (1.0, 1.5), "noise": 1.0}
    augment = _only(**{change: probability}, **strong)
    changed, _ = augment(images, masks, generator(0, 0))
    share = ((changed - images / 255).abs().amax((1, 2, 3)) > 1e-3).float().mean()
    assert abs(float(share) - probability) < 4 * math.sqrt(probability * (1 - probability) / 2000)


def test_transforms_are_independent() -> None:
    """Each of the four combinations of two transforms of probability 1/2 has probability 1/4."""
    images = torch.zeros(2000, 3, 16, 16, dtype=torch.uint8)
    images[..., :4] = 200
    masks = torch.zeros(2000, 16, 16, dtype=torch.uint8)
    masks[..., :8] = 1
    changed, labels = _only(flip=0.5, blur=0.5, blur_sigma=(1, 1.5))(images, masks, generator(5, 0))
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
    images, masks = _batch(16, 64, 48)
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
