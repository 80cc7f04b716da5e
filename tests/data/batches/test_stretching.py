"""Random crop, flip, shift, scale and rotation of stretched images, and of their masks."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from hieraseg.data.sampling import generator
from tests.support.augmentation import (
    CODES,
    LEFT_RIGHT,
    fix_random_numbers,
    random_batch,
    stretched,
)

USUAL = {"flip": 0.5, "affine": 1, "scale": (0.85, 1.15), "rotate": 30, "shift": 0.1}


def test_a_flip_is_a_mirror_image() -> None:
    images, masks = random_batch()
    changed, labels = stretched(images, masks, generator(0, 0), flip=1)
    torch.testing.assert_close(changed, images.float().flip(-1) / 255, rtol=0, atol=1e-5)
    assert torch.equal(labels, masks.flip(-1))


def test_a_flip_swaps_left_and_right_on_every_level() -> None:
    images, masks = random_batch()
    masks[0, :2] = 255
    changed, labels = stretched(images, masks, generator(0, 0), LEFT_RIGHT, flip=1)
    assert torch.equal(changed, stretched(images, masks, generator(0, 0), flip=1)[0])
    assert labels.dtype == torch.uint8
    found = LEFT_RIGHT.encode(labels, check=False)
    expected = LEFT_RIGHT.encode(masks.flip(-1), check=False)
    for level, image in enumerate(LEFT_RIGHT.mirrored):
        classes = expected[:, level]
        swapped = torch.where(classes < 0, classes, image[classes.clamp(min=0)])
        assert torch.equal(found[:, level], swapped)
    outside = masks.flip(-1) > 5
    assert torch.equal(labels[outside], masks.flip(-1)[outside])


def test_only_flipped_images_swap_left_and_right() -> None:
    """Within an image, the whole mask is swapped or none; the other transforms stay the same."""
    images, masks = random_batch(64)
    mirrored = LEFT_RIGHT.mirrored_labels
    plain = stretched(images, masks, generator(3, 1), crop=0.5, flip=0.4)
    paired = stretched(images, masks, generator(3, 1), LEFT_RIGHT, crop=0.5, flip=0.4)
    assert torch.equal(paired[0], plain[0])
    swap = torch.cat([mirrored, torch.arange(len(mirrored), 256)]).byte()
    # The random numbers of a flip do not depend on the other transforms.
    flipped = (stretched(images, masks, generator(3, 1), flip=0.4)[1] != masks).any(2).any(1)
    assert 10 < flipped.sum() < 40
    expected = torch.where(flipped[:, None, None], swap[plain[1].long()], plain[1])
    assert torch.equal(paired[1], expected)


def test_a_reflection_at_the_border_swaps_left_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shifted by half its size, an image has three mirror images beside it."""
    images = torch.zeros(1, 3, 4, 6, dtype=torch.uint8)
    masks = torch.ones(1, 4, 6, dtype=torch.uint8)
    fix_random_numbers(monkeypatch, 1 - 2.0**-20)
    _, labels = stretched(images, masks, generator(0, 0), LEFT_RIGHT, affine=1, shift=0.5)
    across, down, both = 4, 4, 1  # the labels 1 and 4 are a pair
    above, below = [1, 1, 1, across, across, across], [down, down, down, both, both, both]
    assert labels[0].tolist() == [above, above, below, below]
    _, labels = stretched(images, masks, generator(0, 0), affine=1, shift=0.5)
    assert labels.unique().tolist() == [1], "this tree has no pairs"


@pytest.mark.parametrize("size", [(32, 32), (20, 30)])
def test_labels_are_swapped_where_the_image_is_a_mirror_image(size: tuple[int, int]) -> None:
    """Images show the coordinates of their pixels, so their slopes tell mirror images apart."""
    height, width = size
    images, masks = coordinates(height, width).repeat(40, 1, 1, 1), torch.ones(40, *size).byte()
    strong = {"crop": 1, "flip": 0.5, "affine": 1, "shift": 0.9, "scale": (0.4, 1.6), "rotate": 180}
    changed, labels = stretched(images, masks, generator(0, 0), LEFT_RIGHT, **strong)
    across, down = changed[..., 1:-1, 2:] - changed[..., 1:-1, :-2], changed[..., 2:, 1:-1]
    down = down - changed[..., :-2, 1:-1]
    turn = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    # On a mirror line itself the slopes of both sides cancel out.
    usual = turn.abs().flatten(1).median(1).values[:, None, None]
    clear = turn.abs() > 0.3 * usual
    assert clear.float().mean() > 0.9
    expected = torch.where(turn > 0, 1, 4)
    assert 0.3 < (expected == 1)[clear].float().mean() < 0.7
    assert torch.equal(labels[:, 1:-1, 1:-1][clear].long(), expected[clear])


def coordinates(height: int, width: int) -> Tensor:
    """An image whose red is the column and whose green is the row."""
    x = torch.linspace(0, 255, width).byte().expand(height, width)
    y = torch.linspace(0, 255, height).byte()[:, None].expand(height, width)
    return torch.stack([x, y, torch.zeros_like(x)])


@pytest.mark.parametrize("size", [(24, 32), (40, 20)])
def test_image_and_mask_move_together(size: tuple[int, int]) -> None:
    """Images show the color of each label, so every pixel that is not blended shows its label."""
    _, masks = random_batch(8, *size)
    codes = torch.randint(0, 256, (CODES, 3), generator=generator(3, 0)).byte()
    images = codes[masks.long()].movedim(-1, 1)
    for step in range(5):
        changed, labels = stretched(
            images, masks, generator(2, 0, step), **USUAL, crop=1, crop_scale=(0.3, 1.0)
        )
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
    images, masks = random_batch(2, *size)
    fix_random_numbers(monkeypatch, share)
    rotate, shift = 40.0, 0.1
    changed, labels = stretched(
        images, masks, generator(0, 0), affine=1, rotate=rotate, scale=(0.8, 1.2), shift=shift
    )
    angle, zoom = rotate * (2 * share - 1), 1 + 0.2 * (2 * share - 1)
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
    fix_random_numbers(monkeypatch, 0.0)  # the lower end of the range: minus the maximum angle
    half, labels = stretched(images, masks, generator(0, 0), affine=1, rotate=180)
    torch.testing.assert_close(half, images.flip(-1, -2).float() / 255, rtol=0, atol=1e-3)
    assert torch.equal(labels, masks.flip(-1, -2))
    _, labels = stretched(images, masks, generator(0, 0), affine=1, rotate=90)
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
    changed, _ = stretched(images, masks, generator(0, 0), affine=1, rotate=30)
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
    changed, _ = stretched(pixels, masks, generator(0, 0), crop=1, crop_scale=scale)
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
