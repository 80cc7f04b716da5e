"""Dice, Tversky, Lovasz and focal loss against the equations of their papers, in float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segmentation_models_pytorch import losses as smp
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Prediction
from hieraseg.testing.cases import forget_anywhere, random_logits, random_targets
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.losses import TREE, assert_close, make_loss
from tests.support.trees import SEEDS, Tree, nested_trees

SIZE = (2, 2, 3)
MULTICLASS: dict[str, Any] = {"mode": "multiclass", "ignore_index": IGNORE_INDEX}

Result = tuple[float, np.ndarray]
"""A loss, and its gradient with respect to the logits `[pixels, classes]`."""


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def through_softmax(p: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Gradient with respect to the logits, from that of the softmax scores."""
    return p * (slope - (p * slope).sum(1, keepdims=True))


def tversky(
    z: np.ndarray, y: np.ndarray, alpha: float = 0.5, beta: float = 0.5, smooth: float = 0.0
) -> Result:
    """Salehi et al. 2017, equation 4, for each class that occurs; others count as 0."""
    p, slope, loss = softmax(z), np.zeros(z.shape), 0.0
    classes = z.shape[1]
    for c in set(y.tolist()):
        positive = y == c
        tp, fp = p[positive, c].sum() + smooth, p[~positive, c].sum()
        size = tp + alpha * fp + beta * (1 - p[positive, c]).sum()
        loss += (1 - tp / size) / classes
        at_positives = -(1 / size - tp * (1 - beta) / size**2)
        slope[:, c] = np.where(positive, at_positives, tp * alpha / size**2) / classes
    return loss, through_softmax(p, slope)


def dice(z: np.ndarray, y: np.ndarray, smooth: float = 0.0) -> Result:
    """Milletari et al. 2016 without squares in the ratio: 2 sum(py) / (sum(p) + sum(y))."""
    p, slope, loss = softmax(z), np.zeros(z.shape), 0.0
    classes = z.shape[1]
    for c in set(y.tolist()):
        positive = (y == c).astype(float)
        numerator = 2 * (p[:, c] @ positive) + 2 * smooth
        denominator = p[:, c].sum() + positive.sum() + 2 * smooth
        loss += (1 - numerator / denominator) / classes
        slope[:, c] = (numerator / denominator**2 - 2 * positive / denominator) / classes
    return loss, through_softmax(p, slope)


def lovasz(z: np.ndarray, y: np.ndarray) -> Result:
    """Berman et al. 2018, equations 8 and 9: increments of the Jaccard loss as a set function."""

    def jaccard_loss(wrong: set[int], positives: set[int]) -> float:
        return len(wrong) / len(positives | wrong)

    p, slope, loss = softmax(z), np.zeros(z.shape), 0.0
    present = set(y.tolist())
    for c in present:
        positives = {int(i) for i in np.flatnonzero(y == c)}
        errors = np.abs((y == c) - p[:, c])
        wrong: set[int] = set()
        for i in np.argsort(-errors):
            increment = jaccard_loss(wrong | {int(i)}, positives) - jaccard_loss(wrong, positives)
            wrong.add(int(i))
            loss += errors[i] * increment / len(present)
            slope[i, c] = (-increment if y[i] == c else increment) / len(present)
    return loss, through_softmax(p, slope)


def focal(z: np.ndarray, y: np.ndarray, alpha: float | None = None, gamma: float = 2.0) -> Result:
    """Lin et al. 2017, equation 5, and its derivative as in their appendix B."""
    loss, slope = 0.0, np.zeros(z.shape)
    for (i, c), logit in np.ndenumerate(z):
        sign = 1 if y[i] == c else -1
        correct = 1 / (1 + math.exp(-sign * logit))
        weight = 1.0 if alpha is None else (alpha if sign == 1 else 1 - alpha)
        factor = (1 - correct) ** gamma
        loss -= weight * factor * math.log(correct) / z.size
        by_logit = sign * factor * (gamma * correct * math.log(correct) + correct - 1)
        slope[i, c] = weight * by_logit / z.size
    return loss, slope


CASES: dict[str, tuple[str, dict[str, Any], Callable[..., Result]]] = {
    "dice": ("dice", {}, dice),
    "dice smooth": ("dice", {"smooth": 2.0}, dice),
    "tversky": ("tversky", {}, tversky),
    "tversky 0.3, 0.7": ("tversky", {"alpha": 0.3, "beta": 0.7, "smooth": 1.0}, tversky),
    "tversky 0, 1": ("tversky", {"alpha": 0.0, "beta": 1.0}, tversky),
    "tversky 1, 0.1": ("tversky", {"alpha": 1.0, "beta": 0.1}, tversky),
    "lovasz": ("lovasz", {}, lovasz),
    "focal": ("focal", {}, focal),
    "focal 0.25, 1": ("focal", {"alpha": 0.25, "gamma": 1.0}, focal),
    "focal 0": ("focal", {"gamma": 0.0}, focal),
    "focal 0.5": ("focal", {"gamma": 0.5}, focal),
}
every_loss = pytest.mark.parametrize(
    ("name", "settings"), [case[:2] for case in CASES.values()], ids=CASES.keys()
)


def batch(hierarchy: Hierarchy, seed: int, void: float = 0.3) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    return logits, forget_anywhere(random_targets(hierarchy, SIZE, generator), generator, void)


@pytest.mark.parametrize(("name", "settings", "oracle"), CASES.values(), ids=CASES.keys())
@given(nested_trees(), SEEDS, st.sampled_from([0.0, 0.3, 0.9]), st.floats(0.1, 3))
def test_published_equation(
    name: str,
    settings: dict[str, Any],
    oracle: Callable[..., Result],
    tree: Tree,
    seed: int,
    void: float,
    weight: float,
) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    weights = [weight * (level + 1) for level in range(hierarchy.num_levels)]
    logits, targets = batch(hierarchy, seed, void=void)
    loss = make_loss(name, hierarchy, level_weights=weights, **settings)
    terms, gradients = terms_and_gradients(loss, logits, targets)
    for level, (term, gradient) in enumerate(zip(terms, gradients, strict=True)):
        valid = targets[:, level] != IGNORE_INDEX
        z = logits[level].detach().double().movedim(1, -1)[valid].numpy()
        value, slope = 0.0, np.zeros(z.shape)
        if len(z):
            value, slope = oracle(z, targets[:, level][valid].numpy(), **settings)
        found = gradient.movedim(1, -1)
        assert_close([term, found[valid]], [weights[level] * value, weights[level] * slope])
        assert found[~valid].eq(0).all()


@pytest.mark.parametrize(
    ("name", "criterion"),
    [
        ("dice", smp.DiceLoss(**MULTICLASS)),
        ("tversky", smp.TverskyLoss(**MULTICLASS)),
        ("lovasz", smp.LovaszLoss(**MULTICLASS)),
        ("focal", smp.FocalLoss(**MULTICLASS)),
    ],
)
def test_defaults_match_the_multiclass_losses_of_smp(name: str, criterion: Any) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    logits, targets = batch(hierarchy, 0)
    terms, _ = terms_and_gradients(make_loss(name, hierarchy), logits, targets)
    for level, term in enumerate(terms):
        torch.testing.assert_close(term, criterion(logits[level], targets[:, level]).detach())


def test_by_hand() -> None:
    """Two classes and two pixels of class 0, whose scores are 0.8 and 0.4."""
    hierarchy = Hierarchy.from_tree({"a": None, "b": None})
    correct = torch.tensor([0.8, 0.4])
    logits = torch.stack([correct.logit(), torch.zeros(2)])[None, :, None].requires_grad_()
    targets = torch.zeros(1, 1, 1, 2, dtype=torch.int64)

    def value(name: str, **settings: Any) -> float:
        (term,) = terms_and_gradients(make_loss(name, hierarchy, **settings), [logits], targets)[0]
        return float(term)

    # The absent class b counts as 0 in the means over classes, except for Lovasz.
    assert value("dice") == pytest.approx((1 - 2 * 1.2 / (1.2 + 2)) / 2)
    assert value("tversky", alpha=0.3, beta=0.7) == pytest.approx((1 - 1.2 / (1.2 + 0.56)) / 2)
    assert value("lovasz") == pytest.approx((0.2 + 0.6) / 2)
    # Sigmoids: those of a are the scores above, those of b are 0.5.
    costs = [0.2**2 * -math.log(0.8), 0.6**2 * -math.log(0.4), 2 * 0.5**2 * math.log(2)]
    assert value("focal") == pytest.approx(sum(costs) / 4)


@pytest.mark.parametrize(
    ("name", "activation"),
    [("dice", "softmax"), ("tversky", "softmax"), ("lovasz", "softmax"), ("focal", "sigmoid")],
)
def test_activation_and_term_names(name: str, activation: str) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    loss = make_loss(name, hierarchy)
    logits, targets = batch(hierarchy, 1)
    assert loss.activation == activation
    assert list(loss(Prediction(tuple(logits)), targets)) == [
        f"{name}_level{level}" for level in (1, 2, 3)
    ]


@every_loss
def test_void_batch_gives_zero_with_a_graph(name: str, settings: dict[str, Any]) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    logits, targets = batch(hierarchy, 0, void=1.0)
    terms, gradients = terms_and_gradients(make_loss(name, hierarchy, **settings), logits, targets)
    assert all(term.shape == () and term == 0 for term in terms)
    assert all(gradient.eq(0).all() for gradient in gradients)


@every_loss
def test_level_with_one_class(name: str, settings: dict[str, Any]) -> None:
    """Its softmax is 1: only the focal loss, which uses sigmoids, can learn."""
    hierarchy = Hierarchy.from_tree({"body": ["a", "b"]})
    logits, targets = batch(hierarchy, 0, void=0.0)
    terms, gradients = terms_and_gradients(make_loss(name, hierarchy, **settings), logits, targets)
    learns = name == "focal"
    assert (terms[0] > 0) == learns
    assert gradients[0].ne(0).any() == learns


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("dice", {"level_weights": [1.0]}, "level_weights must have 2 values, one per level"),
        ("lovasz", {"level_weights": []}, "level_weights must have 2 values, one per level"),
        ("lovasz", {"level_weights": [1.0, -1.0]}, "level_weights must be non-negative, got -1.0"),
        ("dice", {"smooth": -1.0}, "smooth must be non-negative, got -1.0"),
        ("tversky", {"alpha": -1.0}, "alpha must be non-negative, got -1.0"),
        ("tversky", {"beta": math.inf}, "beta must be finite and positive, got inf"),
        ("tversky", {"beta": 0.0}, "beta must be positive, got 0.0"),
        ("focal", {"alpha": 1.5}, r"alpha must be in \[0, 1\], got 1.5"),
        ("focal", {"gamma": -2.0}, "gamma must be non-negative, got -2.0"),
        ("focal", {"gamma": math.nan}, "gamma must be finite and non-negative, got nan"),
    ],
)
def test_invalid_arguments(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        make_loss(name, Hierarchy.from_tree({"x": ["a", "b"], "y": None}), **arguments)
    assert "\n" not in str(caught.value)
