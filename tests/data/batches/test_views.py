"""What a training step sees: stretched images, or crops."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hieraseg.contracts import Transform
from hieraseg.data.batches import views
from hieraseg.data.batches.batch import CropBatch, RowBatch, read_rows
from hieraseg.data.batches.resident import ResidentStore
from hieraseg.data.batches.views import Step, View, open_view
from hieraseg.data.sampling import generator
from hieraseg.draws import Draws
from hieraseg.settings import Augmentation, Input
from hieraseg_plugins.transforms.cutout import Cutout
from hieraseg_plugins.transforms.photometric import Photometric
from tests.support.augmentation import LEFT_RIGHT
from tests.support.sampling import random_image
from tests.support.stores import memory_store

SHAPES = [(30, 40), (64, 20), (17, 90), (48, 48), (12, 9)]
FILL = (0.25, 0.5, 0.75)
CPU = torch.device("cpu")
STRONG = Augmentation(scale=(0.4, 2.0), rotate=30, shift=0.2, flip=0.5, crop_tries=2)


def open_store(seed: int = 0) -> Any:
    """Five images of different shapes, with labels in stripes from left to right."""
    images = [random_image(*shape, seed=seed + row) for row, shape in enumerate(SHAPES)]
    masks = [np.tile(np.arange(shape[1]) * 6 // shape[1], (shape[0], 1)) for shape in SHAPES]
    return memory_store(images, [mask.astype(np.uint8) for mask in masks])


def cropped(augmentation: Augmentation, store: Any = None) -> View:
    """A view of crops of 24 x 32 pixels."""
    store = open_store() if store is None else store
    settings = Input(size=(24, 32), resize="none")
    return open_view(store, settings, augmentation, [], LEFT_RIGHT, CPU, FILL)


def steps(number: int = 4, rank: int = 0, processes: int = 1) -> list[Step]:
    """Steps of six images, of which this process has its share."""
    found = []
    for step in range(number):
        rows = torch.randint(5, (6,), generator=generator(7, step))[rank::processes]
        found.append(Step(rows, Draws(generator(0, 1, step), 6, rank, processes)))
    return found


def seen(view: View, work: list[Step]) -> list[tuple[Tensor, Tensor]]:
    """Images and masks of each step."""
    return [view.augment(batch) for batch in view.load(work)]


def test_crops_have_the_input_size() -> None:
    for images, masks in seen(cropped(STRONG), steps()):
        assert images.shape == (6, 3, 24, 32)
        assert images.dtype == torch.float32
        assert 0 <= images.min() <= images.max() <= 1
        assert masks.shape == (6, 24, 32)
        assert masks.dtype == torch.uint8


def test_crops_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = seen(cropped(STRONG), steps())
    for threads in (2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda number=threads: number)
        for found, step in zip(seen(cropped(STRONG), steps()), expected, strict=True):
            assert torch.equal(found[0], step[0])
            assert torch.equal(found[1], step[1])


def test_crops_do_not_depend_on_the_number_of_processes() -> None:
    whole = seen(cropped(STRONG), steps())
    for rank in (0, 1):
        for found, step in zip(seen(cropped(STRONG), steps(4, rank, 2)), whole, strict=True):
            assert torch.equal(found[0], step[0][rank::2])
            assert torch.equal(found[1], step[1][rank::2])


def test_outside_an_image_crops_have_the_fill_color_and_are_void() -> None:
    """All images are black, and smaller than a crop in most directions."""
    images = [np.zeros((*shape, 3), np.uint8) for shape in SHAPES]
    store = memory_store(images, [np.ones(shape, np.uint8) for shape in SHAPES])
    pixels, masks = seen(cropped(Augmentation(flip=0), store), steps(1))[0]
    outside = masks == LEFT_RIGHT.void_value
    assert 0.1 < outside.float().mean() < 0.9
    assert (masks[~outside] == 1).all()
    assert (pixels.movedim(1, -1)[outside] == torch.tensor(FILL)).all()
    assert (pixels.movedim(1, -1)[~outside] == 0).all()
    targets = LEFT_RIGHT.encode(masks, check=False)
    assert torch.equal(targets == -100, outside[:, None].expand_as(targets))


def test_a_flip_swaps_left_and_right_labels() -> None:
    plain = seen(cropped(Augmentation(flip=0)), steps())
    mirrored = seen(cropped(Augmentation(flip=1)), steps())
    swap = torch.arange(256).byte()
    swap[[1, 2, 3, 4]] = torch.tensor([4, 3, 2, 1]).byte()
    for (images, masks), (other, labels) in zip(plain, mirrored, strict=True):
        torch.testing.assert_close(other, images.flip(-1), rtol=0, atol=1e-6)
        assert torch.equal(labels, swap[masks.flip(-1).long()])


@pytest.mark.parametrize("scale", [(0.4, 2.0), (1.0, 2.0)])
def test_a_store_on_the_device_gives_the_same_crops(
    monkeypatch: pytest.MonkeyPatch, scale: tuple[float, float]
) -> None:
    """Gathered from one buffer or sampled one by one, here both on the CPU."""
    settings = replace(STRONG, scale=scale)
    expected = seen(cropped(settings), steps())
    monkeypatch.setattr(views, "fits", lambda *_: True)
    view = cropped(settings)
    assert all(isinstance(batch, CropBatch) for batch in view.load(steps()))
    for found, step in zip(seen(view, steps()), expected, strict=True):
        torch.testing.assert_close(found[0], step[0], rtol=0, atol=1e-5)
        assert torch.equal(found[1], step[1])


def stretched(shape: tuple[int, int] = (24, 32)) -> View:
    """A view of images of one shape, with all random changes."""
    augmentation = replace(STRONG, crop=0.5, crop_tries=1)
    transforms: list[Transform] = [Photometric(), Cutout(LEFT_RIGHT)]
    images = [random_image(*shape, seed=row) for row in range(5)]
    masks = [np.full(shape, row, np.uint8) for row in range(5)]
    store = memory_store(images, masks)
    return open_view(store, Input(size=shape), augmentation, transforms, LEFT_RIGHT, CPU, FILL)


def test_a_store_on_the_device_gives_the_same_stretched_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = seen(stretched(), steps())
    monkeypatch.setattr(views, "fits", lambda *_: True)
    view = stretched()
    batches = list(view.load(steps()))
    assert all(isinstance(batch, RowBatch) for batch in batches)
    assert max(one.numel() for batch in batches for one in batch) < 500
    for batch, (images, masks) in zip(batches, expected, strict=True):
        found, labels = view.augment(batch)
        assert torch.equal(found, images)
        assert torch.equal(labels, masks)


def test_resident_images_are_channels_last_as_those_of_threads() -> None:
    images = [random_image(8, 10, seed=row) for row in range(3)]
    store = memory_store(images, [np.zeros((8, 10), np.uint8)] * 3)
    found, masks = ResidentStore(store, 1, CPU).whole(torch.tensor([2, 0]))
    expected, labels = read_rows(store, torch.tensor([2, 0]))
    assert torch.equal(found, expected)
    assert found.stride() == expected.stride()
    assert torch.equal(masks, labels)


def test_stretched_images_do_not_depend_on_the_number_of_processes() -> None:
    whole = seen(stretched(), steps())
    for rank in (0, 1):
        for found, step in zip(seen(stretched(), steps(4, rank, 2)), whole, strict=True):
            assert torch.equal(found[0], step[0][rank::2])
            assert torch.equal(found[1], step[1][rank::2])


def test_masks_of_uint16_are_cropped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = [np.full(shape, 300 + row, np.uint16) for row, shape in enumerate(SHAPES)]
    images = [np.zeros((*shape, 3), np.uint8) for shape in SHAPES]
    sampled = seen(cropped(STRONG, memory_store(images, masks)), steps())
    monkeypatch.setattr(views, "fits", lambda *_: True)
    gathered = seen(cropped(STRONG, memory_store(images, masks)), steps())
    for (_, found), (_, expected) in zip(sampled, gathered, strict=True):
        assert found.dtype == expected.dtype == torch.int32
        assert set(found.unique().tolist()) <= {LEFT_RIGHT.void_value, *range(300, 305)}
        assert torch.equal(found, expected)


def test_transforms_see_the_crops_and_go_on_with_the_random_numbers() -> None:
    calls = []

    def record(images: Tensor, masks: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        calls.append((images.shape, masks.shape, draws.uniform(0, 1)))
        return images * 0, masks

    settings = Input(size=(24, 32), resize="none")
    view = views.open_view(open_store(), settings, STRONG, [record], LEFT_RIGHT, CPU, FILL)
    ((images, _),) = seen(view, steps(1))
    assert not images.any()
    (first, *_), (shape, mask_shape, numbers) = calls
    assert first == (1, 3, 24, 32), "the first call finds out how many numbers it draws"
    assert (shape, mask_shape) == ((6, 3, 24, 32), (6, 24, 32))
    assert len(numbers.unique()) == 6


def test_an_error_of_a_store_is_raised_when_its_step_is_reached() -> None:
    store = open_store()

    def broken(row: int) -> np.ndarray:
        raise OSError("disk")

    object.__setattr__(store, "masks", broken)
    with pytest.raises(OSError, match="disk"):
        next(cropped(STRONG, store).load(steps()))
