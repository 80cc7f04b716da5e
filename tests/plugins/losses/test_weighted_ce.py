"""Weighted cross-entropy against its equations and against torch."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import Hierarchy, Prediction
from hieraseg.testing.cases import forget_anywhere, random_logits, random_targets
from hieraseg.testing.loss_cases import terms_and_gradients
from hieraseg_plugins.losses.weighted_ce import median_frequency
from tests.support.losses import (
    IGNORED,
    SIZE,
    TREE,
    assert_close,
    make_loss,
    random_batch,
    valid_pixels,
)
from tests.support.trees import SEEDS, Tree, nested_trees


def cross_entropy_by_hand(
    logits: Tensor, target: Tensor, weights: list[float]
) -> tuple[float, np.ndarray]:
    """Weighted mean over valid pixels and its gradient, per pixel in float64."""
    scores, gradient = logits.detach().double().numpy(), np.zeros(logits.shape)
    pixels = list(valid_pixels(target))
    total_weight = sum(weights[true] for _, true in pixels) or 1.0
    total = 0.0
    for (b, y, x), true in pixels:
        exponentials = [math.exp(z) for z in scores[b, :, y, x]]
        shares = [value / sum(exponentials) for value in exponentials]
        total -= weights[true] * math.log(shares[true])
        for index, share in enumerate(shares):
            gradient[b, index, y, x] = weights[true] * (share - (index == true)) / total_weight
    return total / total_weight, gradient


@given(nested_trees(), SEEDS, st.booleans(), IGNORED)
def test_equation(tree: Tree, seed: int, weighted: bool, ignored: float) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator, ignored)
    level_weights = (torch.rand(hierarchy.num_levels, generator=generator) * 2).tolist()
    tables = [torch.rand(n, generator=generator).tolist() for n in hierarchy.num_classes]
    loss = make_loss(
        "weighted_ce",
        hierarchy,
        level_weights=level_weights,
        class_weights=tables if weighted else None,
    )
    terms, gradients = terms_and_gradients(loss, logits, targets)
    ones = [[1.0] * classes for classes in hierarchy.num_classes]
    for level, weight in enumerate(level_weights):
        value, gradient = cross_entropy_by_hand(
            logits[level], targets[:, level], (tables if weighted else ones)[level]
        )
        assert_close([terms[level], gradients[level]], [weight * value, weight * gradient])


def test_torch_cross_entropy() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(0)
    logits = random_logits(hierarchy, (2, 5, 6), generator)
    targets = forget_anywhere(random_targets(hierarchy, (2, 5, 6), generator), generator)
    tables = [[0.5, 2.0, 1.0], [1.0, 3.0, 0.2, 1.0], [0.0, 1.0, 2.0, 3.0, 4.0]]
    for class_weights in (None, tables):
        loss = make_loss(
            "weighted_ce", hierarchy, level_weights=[0.1, 0.4, 1.0], class_weights=class_weights
        )
        terms = loss(Prediction(tuple(logits)), targets)
        assert list(terms) == ["ce_level1", "ce_level2", "ce_level3"]
        for level, weight in enumerate([0.1, 0.4, 1.0]):
            table = None if class_weights is None else torch.tensor(class_weights[level])
            expected = F.cross_entropy(logits[level], targets[:, level], table)
            assert terms[f"ce_level{level + 1}"].item() == pytest.approx(weight * expected.item())


@given(nested_trees(), SEEDS, st.booleans(), IGNORED, st.floats(0, 1))
def test_label_smoothing_is_that_of_torch(
    tree: Tree, seed: int, weighted: bool, ignored: float, smoothing: float
) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, ignored)
    generator = torch.Generator().manual_seed(seed)
    tables = [torch.rand(n, generator=generator) + 0.1 for n in hierarchy.num_classes]
    weights = [table.tolist() for table in tables] if weighted else None
    loss = make_loss("weighted_ce", hierarchy, class_weights=weights, label_smoothing=smoothing)
    terms, gradients = terms_and_gradients(loss, logits, targets)
    for level, target in enumerate(targets.unbind(1)):
        reference = logits[level].detach().double().requires_grad_()
        expected = F.cross_entropy(
            reference,
            target,
            tables[level].double() if weighted else None,
            label_smoothing=smoothing,
            reduction="mean" if target.ge(0).any() else "sum",  # of no pixels, the mean is NaN
        )
        expected.backward()
        assert reference.grad is not None
        assert_close([terms[level], gradients[level]], [expected.item(), reference.grad.numpy()])


def test_smoothed_labels_by_hand() -> None:
    """Of 0.3, each of three classes gets 0.1, so the label of the first one is (.8, .1, .1)."""
    hierarchy = Hierarchy.from_tree(["a", "b", "c"])
    logits = torch.tensor([0.5, 0.3, 0.2]).log().view(1, 3, 1, 1).requires_grad_()
    loss = make_loss("weighted_ce", hierarchy, label_smoothing=0.3)
    terms, gradients = terms_and_gradients(loss, [logits], torch.zeros(1, 1, 1, 1).long())
    expected = -0.8 * math.log(0.5) - 0.1 * math.log(0.3) - 0.1 * math.log(0.2)
    assert terms[0].item() == pytest.approx(expected)
    assert gradients[0].flatten().tolist() == pytest.approx([-0.3, 0.2, 0.1])


def test_median_frequency_by_hand() -> None:
    # 100, 40, 20 and 0 pixels: the median of classes that occur is 40, the weights .4, 1, 2, 0.
    # 90 and 10 pixels: the median is 50, the weights are 5/9 and 5.
    assert median_frequency(torch.tensor([100.0, 40, 20, 0])).tolist() == pytest.approx(
        [0.4, 1, 2, 0]
    )
    assert median_frequency(torch.tensor([90.0, 10])).tolist() == pytest.approx([5 / 9, 5])
    assert median_frequency(torch.zeros(3)).tolist() == [0, 0, 0]
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"]})
    pixels = [[90.0, 10.0], [100.0, 40.0, 20.0, 0.0]]
    by_frequency = make_loss(
        "weighted_ce",
        hierarchy,
        class_pixels=[torch.tensor(level, dtype=torch.float64) for level in pixels],
        class_weights="median_frequency",
    )
    by_hand = make_loss(
        "weighted_ce", hierarchy, class_weights=[[5 / 9, 5.0], [0.4, 1.0, 2.0, 0.0]]
    )
    generator = torch.Generator().manual_seed(0)
    logits = random_logits(hierarchy, (2, 4, 4), generator)
    targets = random_targets(hierarchy, (2, 4, 4), generator)
    terms, gradients = terms_and_gradients(by_frequency, logits, targets)
    expected, slopes = terms_and_gradients(by_hand, logits, targets)
    assert_close(terms, [term.numpy() for term in expected])
    assert_close(gradients, [slope.numpy() for slope in slopes])


def test_zero_weight_on_all_pixels_gives_zero() -> None:
    hierarchy = Hierarchy.from_tree(["a", "b"])
    logits = [torch.randn(1, 2, 1, 2).requires_grad_()]
    for smoothing in (0.0, 0.1):
        loss = make_loss(
            "weighted_ce", hierarchy, class_weights=[[0.0, 1.0]], label_smoothing=smoothing
        )
        targets = torch.zeros(1, 1, 1, 2, dtype=torch.int64)
        terms, gradients = terms_and_gradients(loss, logits, targets)
        assert terms[0] == 0
        assert gradients[0].eq(0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"level_weights": [1.0]},
            "level_weights must have 2 values, one per level of the hierarchy, got 1",
        ),
        (
            {"level_weights": []},
            "level_weights must have 2 values, one per level of the hierarchy, got 0",
        ),
        (
            {"class_weights": []},
            "class_weights must have [2, 3] values per level, one per class, got []",
        ),
        (
            {"class_weights": [[1.0, 1.0], [1.0, -2.0, 1.0]]},
            "class_weights must be non-negative, got -2.0 at [1][1]",
        ),
        (
            {"class_weights": [[0.0, 0.0], [0.0] * 3]},
            "class_weights must not all be 0, with which nothing is trained",
        ),
        (
            {"class_weights": [[1.0, math.nan], [1.0] * 3]},
            "class_weights must be finite and non-negative, got nan at [0][1]",
        ),
        (
            {"class_weights": [[1.0, 1.0]]},
            "class_weights must have [2, 3] values per level, one per class, got [2]",
        ),
        (
            {"label_smoothing": 1.5},
            "label_smoothing must be in [0, 1], got 1.5",
        ),
        (
            {"class_weights": [[1.0], [1.0, 1.0]]},
            "class_weights must have [2, 3] values per level, one per class, got [1, 2]",
        ),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("weighted_ce", Hierarchy.from_tree({"x": ["a", "b"], "y": None}), **arguments)


def test_median_frequency_needs_class_pixels() -> None:
    with pytest.raises(ValueError, match="without `class_pixels`") as caught:
        make_loss("weighted_ce", Hierarchy.from_tree(TREE), class_weights="median_frequency")
    assert "\n" not in str(caught.value)
