"""Test-time augmentation of whole images: scales, flips and padding, with known predictions."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import Hierarchy, registry
from hieraseg.contracts import Activation, has_argument
from hieraseg.devices import start_fabric
from hieraseg.inference import bands
from hieraseg.inference.bands import batches, predict_classes, predict_images
from hieraseg.inference.scores import level_scores
from hieraseg.inference.segmenter import Segmenter
from hieraseg.inference.tta import scaled_images
from hieraseg.settings import Evaluation, Input
from tests.support.inference import (
    PADDING,
    TREE,
    Convolutional,
    Pointwise,
    Recorded,
    scores_of,
    segmenter,
)
from tests.support.sampling import random_image

SIDES = st.integers(1, 40)
CPU = torch.device("cpu")


def as_batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image[None]).permute(0, 3, 1, 2) / 255


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor], atol: float = 1e-6) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=atol)


def test_without_augmentation_a_stretched_image_is_predicted_as_it_is() -> None:
    """Its sides need not be multiples of the stride: the model trained on this size."""
    model, image = Convolutional(), random_image(9, 14)
    model.stride = 4
    with torch.no_grad():
        logits = [level(model.features(as_batch(image)).relu()) * 5 for level in model.levels]
    model.stride = 1  # which the model would check
    plain = Segmenter(model, "softmax", registry.inference.get("independent")(), TREE)
    expected = level_scores(logits, "softmax", TREE)
    assert all(torch.equal(a, b[0]) for a, b in zip(scores_of(plain, image), expected, strict=True))
    assert model.sizes == [(9, 14)]
    assert (plain.settings, plain.input) == (Evaluation(), Input())


# Padding.


def padded_by_hand(model: Recorded, image: np.ndarray) -> list[Tensor]:
    """Scores of an image that is padded at the bottom and on the right."""
    height, width = image.shape[:2]
    stride = model.stride
    canvas = torch.empty(1, 3, -(-height // stride) * stride, -(-width // stride) * stride)
    canvas[:] = torch.tensor(PADDING).view(1, 3, 1, 1)
    canvas[..., :height, :width] = as_batch(image)
    with torch.no_grad():
        logits = model(canvas).logits
    return level_scores([level[..., :height, :width] for level in logits], "softmax", TREE)


@pytest.mark.parametrize("resize", ["shorter", "longer", "none"])
@pytest.mark.parametrize("size", [(9, 14), (8, 16), (1, 1), (3, 40)])
def test_whole_images_are_padded_to_the_stride(resize: str, size: tuple[int, int]) -> None:
    model, image = Convolutional(stride=8), random_image(*size)
    found = scores_of(segmenter(model, resize=resize), image)
    assert_close(found, [level[0] for level in padded_by_hand(model, image)])


def test_images_that_are_padded_to_the_same_sizes_are_one_batch() -> None:
    """At each scale; by shape; and at most `batch_size` of them."""
    shapes = [(20, 30), (9, 9), (17, 25), (24, 32), (8, 8), (32, 32), (18, 26)]
    settings: dict[str, Any] = {"resize": "none", "batch_size": 2}
    model = Pointwise(stride=8)

    def together(**more: Any) -> list[list[int]]:
        own = segmenter(model, **settings, **more)
        return [list(chain(*stacks)) for stacks in batches(own, shapes, shapes, CPU)]

    assert together() == [[4], [1], [2, 6], [0, 3], [5]]
    # At half the size these are 10 x 15, 8 x 12 (17 / 2 is rounded to even), 12 x 16 and 9 x 13.
    assert together(scales=(1.0, 0.5)) == [[4], [1], [2], [6, 0], [3], [5]]
    assert together(window=(8, 8)) == [[index] for index in (4, 1, 2, 6, 0, 3, 5)]
    own = segmenter(model, batch_size=3)
    assert batches(own, [(9, 9)] * 5, [(9, 9)] * 5, CPU) == [[[0, 1, 2]], [[3, 4]]]


def test_images_whose_scores_have_the_same_size_are_stacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of one batch, and as many as the limit of scores allows, or one by one."""
    own = segmenter(Pointwise(), batch_size=5)
    shapes, sizes = [(8, 8)] * 7, [(6, 9), (9, 6), (6, 9), (9, 6), (6, 9), (4, 4), (9, 6)]
    assert batches(own, shapes, sizes, CPU) == [[[5], [0, 2, 4], [1]], [[3, 6]]]
    scores = sum(TREE.num_classes) * 6 * 9
    for limit, expected in (
        (2 * scores, [[[5], [0, 2], [4], [1]], [[3, 6]]]),
        (1, [[[5], [0], [2], [4], [1]], [[3], [6]]]),
    ):
        monkeypatch.setitem(bands._SCORES, "cpu", limit)
        assert batches(own, shapes, sizes, CPU) == expected


@given(st.lists(st.tuples(SIDES, SIDES), max_size=6), st.integers(1, 3), st.booleans())
def test_scores_do_not_depend_on_the_batch(
    shapes: list[tuple[int, int]], batch_size: int, flip: bool
) -> None:
    model = Convolutional(stride=8)
    options: dict[str, Any] = {"flip": flip, "scales": (1.0, 0.6), "batch_size": batch_size}
    own = segmenter(model, resize="none", **options)
    images = [random_image(*shape, seed) for seed, shape in enumerate(shapes)]
    fabric, seen = start_fabric("cpu"), []
    for batch in batches(own, shapes, shapes, CPU):
        sizes = [shapes[stack[0]] for stack in batch]
        stacks = [torch.from_numpy(np.stack([images[i] for i in stack])) for stack in batch]
        all_bands = predict_images(fabric, own, stacks, sizes)
        for stack, of_stack in zip(batch, all_bands, strict=True):
            (band,) = of_stack
            seen += stack
            for place, index in enumerate(stack):
                expected = scores_of(own, images[index])
                assert_close([level[place] for level in band.scores], expected)
    assert sorted(seen) == list(range(len(shapes)))


# Scales.


def test_each_scale_is_one_prediction_at_whole_pixels() -> None:
    model, image = Pointwise(), random_image(10, 15)
    scores = scores_of(segmenter(model, scales=(0.5, 1.0, 1.75, 0.01)), image, (20, 7))
    assert model.sizes == [(5, 8), (10, 15), (18, 26), (1, 1)]
    assert [tuple(level.shape) for level in scores] == [(n, 20, 7) for n in TREE.num_classes]


def test_scores_are_at_the_size_that_is_asked_for() -> None:
    """Logits are resized, not scores."""
    model, image = Convolutional(stride=4), random_image(9, 14)
    own = segmenter(model, resize="none", scales=(0.5,))
    small = F.interpolate(
        as_batch(image), (4, 7), mode="bilinear", align_corners=False, antialias=True
    )
    canvas = torch.tensor(PADDING).view(1, 3, 1, 1).repeat(1, 1, 4, 8)
    canvas[..., :7] = small
    with torch.no_grad():
        logits = [level[..., :7] for level in model(canvas).logits]
    resized = [F.interpolate(x, (13, 5), mode="bilinear", align_corners=False) for x in logits]
    expected = [level[0] for level in level_scores(resized, "softmax", TREE)]
    assert_close(scores_of(own, image, (13, 5)), expected)


def test_scales_do_not_change_an_image_of_one_color() -> None:
    model, image = Pointwise(), np.full((9, 14, 3), [10, 200, 90], np.uint8)
    found = scores_of(segmenter(model, scales=(0.5, 1.0, 1.3)), image)
    assert_close(found, scores_of(segmenter(model), image))


def test_scales_above_one_enlarge_the_original() -> None:
    original = np.zeros((8, 8, 3), np.uint8)
    original[:, ::2] = 255
    reduced = np.full((4, 4, 3), 127, np.uint8)
    stack = torch.from_numpy(reduced)[None]
    half, same, twice = scaled_images(stack, (0.5, 1.0, 2.0), CPU, original)
    assert_close([half, same], [torch.full((1, 3, n, n), 127 / 255) for n in (2, 4)])
    assert torch.equal(twice, as_batch(original))
    (enlarged,) = scaled_images(stack, (2.0,), CPU)
    assert_close([enlarged], [torch.full((1, 3, 8, 8), 127 / 255)])


# Flips.


class Sides(Recorded):
    """Predicts a left and a right leaf from the position of bright pixels."""

    def logits(self, images: Tensor) -> list[Tensor]:
        across = torch.linspace(-1, 1, images.shape[-1])
        right = 5 * images[:, :1] * across
        whole = images.mean(1, keepdim=True)
        return [torch.cat([whole, 1 - whole], 1), torch.cat([whole, -right, right], 1)]


class SideLeaves(Sides):
    """The same of leaves only."""

    def logits(self, images: Tensor) -> list[Tensor]:
        return super().logits(images)[-1:]


PERSON = {"background": None, "person": ["left", "right"]}


@pytest.mark.parametrize("model", [Sides(), SideLeaves()])
def test_flips_swap_left_and_right_classes(model: Recorded) -> None:
    image = random_image(6, 11)
    paired = Hierarchy.from_tree(PERSON, pairs=[("left", "right")])
    plain = scores_of(segmenter(model, paired), image)
    assert_close(scores_of(segmenter(model, paired, flip=True), image), plain)
    # Without the pair, left and right cancel out.
    unpaired = scores_of(segmenter(model, Hierarchy.from_tree(PERSON), flip=True), image)
    assert torch.allclose(unpaired[-1][1], unpaired[-1][2], atol=1e-6)
    assert not torch.allclose(unpaired[-1], plain[-1], atol=0.1)


@pytest.mark.parametrize("resize", ["stretch", "none"])
def test_flips_do_not_change_a_pointwise_model(resize: str) -> None:
    model, image = Pointwise(stride=1 if resize == "stretch" else 4), random_image(6, 11)
    found = scores_of(segmenter(model, resize=resize, flip=True), image)
    assert_close(found, scores_of(segmenter(model, resize=resize), image))


def test_scores_are_averaged_and_not_logits() -> None:
    class Position(Recorded):
        def logits(self, images: Tensor) -> list[Tensor]:
            across = torch.arange(images.shape[-1]).float()
            across = across.expand(len(images), 1, *images.shape[-2:])
            return [torch.cat([across, torch.zeros_like(across)], 1)]

    flat = Hierarchy.from_tree(["a", "b"])
    (scores,) = scores_of(segmenter(Position(), flat, flip=True), random_image(2, 5))
    for x in range(5):
        sigmoids = [1 / (1 + np.exp(-logit)) for logit in (x, 4 - x)]
        assert scores[0, :, x].tolist() == pytest.approx([np.mean(sigmoids)] * 2)


# Combinations.


@pytest.mark.parametrize("rule", registry.inference.names())
@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("leaves_only", [False, True])
@pytest.mark.parametrize("window", [None, (7, 8)])
def test_every_rule_and_activation_works_with_augmentation(
    rule: str, activation: Activation, leaves_only: bool, window: tuple[int, int] | None
) -> None:
    factory = registry.inference.get(rule)
    chosen = factory(hierarchy=TREE) if has_argument(factory, "hierarchy") else factory()
    model = Pointwise(TREE.num_classes[-1:] if leaves_only else TREE.num_classes)
    settings = Evaluation(flip=True, scales=(0.7, 1.0, 1.5), window=window)
    own = Segmenter(model, activation, chosen, TREE, settings)
    image = random_image(9, 14)
    scores = scores_of(own, image, (12, 13))
    assert all(((level >= 0) & (level <= 1 + 1e-6)).all() for level in scores)
    classes = predict_classes(start_fabric("cpu"), own, image, (12, 13))
    assert (classes.dtype, classes.shape) == (np.uint8, (3, 12, 13))
    if rule != "independent":
        for level in (1, 2):
            assert (TREE.parents[level].numpy()[classes[level]] == classes[level - 1]).all()
