"""Test-time augmentation: windows, scales and flips, with models of known predictions."""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hieraseg import Hierarchy, Prediction, registry
from hieraseg.contracts import Activation, has_argument
from hieraseg.inference.scores import level_scores
from hieraseg.inference.segmenter import Segmenter
from hieraseg.inference.tta import predict_augmented, slide, unused_window, window_slices
from hieraseg.settings import Evaluation

SIDES = st.integers(1, 40)
OVERLAPS = st.sampled_from([0.0, 0.25, 0.5, 0.9])
TREE = Hierarchy.from_tree({"background": None, "x": {"a": None, "y": ["b", "c"]}})


class Pointwise(nn.Module):
    """The logits of a pixel depend on its color only."""

    def __init__(self, num_classes: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.levels = nn.ModuleList(nn.Conv2d(3, classes, 1) for classes in num_classes)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Prediction:
        self.sizes.append(tuple(images.shape[-2:]))
        return Prediction(tuple(10 * level(images) for level in self.levels))


class Brightness(nn.Module):
    """Two classes. The logit of the first is the mean of the input."""

    def forward(self, images: Tensor) -> Prediction:
        first = images.mean((1, 2, 3), keepdim=True).expand(-1, 1, *images.shape[-2:])
        return Prediction((torch.cat([first, -first], 1),))


def random_images(height: int, width: int, images: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(images, 3, height, width, generator=generator)


def segmenter(model: nn.Module, hierarchy: Hierarchy = TREE, **settings: Any) -> Segmenter:
    rule = registry.inference.get("best_path")(hierarchy=hierarchy)
    return Segmenter(model, "softmax", rule, hierarchy, Evaluation(**settings))


def scores_of(segmenter: Segmenter, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return segmenter.scores(segmenter.predict(images), images.shape[-2:])


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor], atol: float = 1e-6) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=atol)


def test_without_augmentation_the_image_is_predicted_once() -> None:
    model, images = Pointwise(TREE.num_classes), random_images(9, 14)
    plain = Segmenter(model, "softmax", registry.inference.get("independent")(), TREE)
    (prediction,) = plain.predict(images)
    assert all(map(torch.equal, prediction.logits, model(images).logits))
    expected = level_scores(model(images).logits, "softmax", TREE)
    assert all(map(torch.equal, plain.scores([prediction], (9, 14)), expected))
    assert plain.settings == Evaluation()


# Windows.


@given(SIDES, SIDES, OVERLAPS)
def test_windows_cover_a_side(side: int, window: int, overlap: float) -> None:
    slices = window_slices(side, window, overlap)
    assert {one.stop - one.start for one in slices} == {min(window, side)}
    assert set().union(*(range(side)[one] for one in slices)) == set(range(side))
    starts = [one.start for one in slices]
    assert starts == sorted(set(starts))
    assert (starts[0], slices[-1].stop) == (0, side)
    for one, following in pairwise(slices):
        assert one.stop - following.start >= round(overlap * window) - 1


def test_windows_by_hand() -> None:
    assert window_slices(10, 4, 0.5) == [slice(0, 4), slice(2, 6), slice(4, 8), slice(6, 10)]
    assert window_slices(9, 4, 0) == [slice(0, 4), slice(4, 8), slice(5, 9)]
    assert window_slices(3, 4, 0.5) == [slice(0, 3)]


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), OVERLAPS)
def test_windows_do_not_change_a_pointwise_model(
    size: tuple[int, int], window: tuple[int, int], overlap: float
) -> None:
    window = (max(window[0], 4), max(window[1], 4))
    model, images = Pointwise(TREE.num_classes), random_images(*size, images=1)
    with torch.no_grad():
        found = slide(model, images, window, overlap).logits
        assert_close(found, model(images).logits, atol=1e-5)
    assert {tuple(map(min, size, window))} == set(model.sizes[:-1])


@pytest.mark.parametrize("window", [(9, 14), (20, 14), (50, 50)])
def test_images_that_fit_into_the_window_are_predicted_at_once(window: tuple[int, int]) -> None:
    model, images = Pointwise(TREE.num_classes), random_images(9, 14)
    found = scores_of(segmenter(model, window=window), images)
    assert model.sizes == [(9, 14)]
    assert all(map(torch.equal, found, scores_of(segmenter(model), images)))


def test_logits_of_overlapping_windows_are_averaged() -> None:
    images = random_images(7, 10)
    found = slide(Brightness(), images, (4, 6), 0.5).logits[0]
    for b, y, x in product(range(2), range(7), range(10)):
        # Windows start at rows 0, 2, 3 and columns 0, 3, 4.
        logits = [
            images[b, :, top : top + 4, left : left + 6].double().mean().item()
            for top, left in product((0, 2, 3), (0, 3, 4))
            if top <= y < top + 4 and left <= x < left + 6
        ]
        assert found[b, 0, y, x].item() == pytest.approx(np.mean(logits), rel=1e-5)
        assert found[b, 1, y, x].item() == pytest.approx(-np.mean(logits), rel=1e-5)


# Scales.


def test_each_scale_is_one_prediction_at_whole_pixels() -> None:
    model, images = Pointwise(TREE.num_classes), random_images(10, 15)
    settings = Evaluation(scales=(0.5, 1.0, 1.75, 0.01))
    predictions = predict_augmented(model, images, TREE, settings)
    assert model.sizes == [(5, 8), (10, 15), (18, 26), (1, 1)]
    assert [tuple(one.logits[0].shape[-2:]) for one in predictions] == model.sizes
    scores = segmenter(model).scores(predictions, (10, 15))
    assert [tuple(level.shape) for level in scores] == [(2, n, 10, 15) for n in TREE.num_classes]


def test_scales_do_not_change_an_image_of_one_color() -> None:
    model = Pointwise(TREE.num_classes)
    images = torch.rand(2, 3, 1, 1).expand(-1, -1, 9, 14)
    found = scores_of(segmenter(model, scales=(0.5, 1.0, 1.3)), images)
    assert_close(found, scores_of(segmenter(model), images))


def test_windows_slide_over_the_resized_image() -> None:
    model, images = Pointwise(TREE.num_classes), random_images(10, 10)
    settings = Evaluation(scales=(2.0,), window=(20, 12), window_overlap=0.25)
    predict_augmented(model, images, TREE, settings)
    assert model.sizes == [(20, 12)] * 2


# Flips.


class Sides(nn.Module):
    """Predicts a left and a right leaf from the position of bright pixels."""

    def forward(self, images: Tensor) -> Prediction:
        across = torch.linspace(-1, 1, images.shape[-1])
        right = 5 * images[:, :1] * across
        whole = torch.zeros_like(right)
        return Prediction((torch.cat([whole, 1 - whole], 1), torch.cat([whole, -right, right], 1)))


PERSON = {"background": None, "person": ["left", "right"]}


def test_flips_swap_left_and_right_classes() -> None:
    images = random_images(6, 11)
    paired = Hierarchy.from_tree(PERSON, pairs=[("left", "right")])
    plain = scores_of(segmenter(Sides(), paired), images)
    assert_close(scores_of(segmenter(Sides(), paired, flip=True), images), plain)
    # Without the pair, left and right cancel out.
    unpaired = scores_of(segmenter(Sides(), Hierarchy.from_tree(PERSON), flip=True), images)
    assert torch.allclose(unpaired[-1][:, 1], unpaired[-1][:, 2], atol=1e-6)
    assert not torch.allclose(unpaired[-1], plain[-1], atol=0.1)


def test_flips_swap_the_leaves_of_a_model_that_predicts_leaves_only() -> None:
    paired = Hierarchy.from_tree(PERSON, pairs=[("left", "right")])
    images = random_images(6, 11)

    class Leaves(Sides):
        def forward(self, images: Tensor) -> Prediction:
            return Prediction(super().forward(images).logits[-1:])

    plain = scores_of(segmenter(Leaves(), paired), images)
    assert_close(scores_of(segmenter(Leaves(), paired, flip=True), images), plain)


def test_flips_do_not_change_a_pointwise_model() -> None:
    model, images = Pointwise(TREE.num_classes), random_images(6, 11)
    found = scores_of(segmenter(model, flip=True), images)
    assert_close(found, scores_of(segmenter(model), images))


def test_scores_are_averaged_and_not_logits() -> None:
    def position(images: Tensor) -> Prediction:
        across = torch.arange(images.shape[-1]).float().expand(len(images), 1, *images.shape[-2:])
        return Prediction((torch.cat([across, torch.zeros_like(across)], 1),))

    flat = Hierarchy.from_tree(["a", "b"])
    settings = Evaluation(flip=True)
    predictions = predict_augmented(position, random_images(2, 5), flat, settings)
    (scores,) = segmenter(nn.Identity(), flat).scores(predictions, (2, 5))
    for x in range(5):
        sigmoids = [1 / (1 + np.exp(-logit)) for logit in (x, 4 - x)]
        assert scores[:, 0, :, x].flatten().tolist() == pytest.approx([np.mean(sigmoids)] * 4)


# Combinations.


@pytest.mark.parametrize("rule", registry.inference.names())
@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("leaves_only", [False, True])
def test_every_rule_and_activation_works_with_augmentation(
    rule: str, activation: Activation, leaves_only: bool
) -> None:
    factory = registry.inference.get(rule)
    chosen = factory(hierarchy=TREE) if has_argument(factory, "hierarchy") else factory()
    model = Pointwise(TREE.num_classes[-1:] if leaves_only else TREE.num_classes)
    settings = Evaluation(flip=True, scales=(0.7, 1.0, 1.5), window=(7, 8))
    segmenter = Segmenter(model, activation, chosen, TREE, settings)
    images = random_images(9, 14)
    predictions = segmenter.predict(images)
    assert len(predictions) == 6
    scores = segmenter.scores(predictions, (12, 13))
    assert all(((level >= 0) & (level <= 1 + 1e-6)).all() for level in scores)
    classes = segmenter.rule(scores)
    assert classes.shape == (2, 3, 12, 13)
    if rule != "independent":
        for level in (1, 2):
            assert torch.equal(TREE.parents[level][classes[:, level]], classes[:, level - 1])


@given(
    SIDES, SIDES, st.tuples(SIDES, SIDES), st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=1)
)
def test_a_window_without_effect_is_noticed(
    height: int, width: int, window: tuple[int, int], scales: list[float]
) -> None:
    """The oracle is the number of images that the model gets: one per scale without windows."""
    model = Pointwise([2])
    settings = Evaluation(scales=tuple(scales), window=window)
    predict_augmented(model, random_images(height, width, 1), TREE, settings)
    is_unused = len(model.sizes) == len(scales)
    assert (unused_window(settings, (height, width)) is not None) == is_unused


def test_a_recipe_without_a_window_is_not_warned_of_it() -> None:
    assert unused_window(Evaluation(), (8, 8)) is None
