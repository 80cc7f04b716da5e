"""The tree-triplet loss against its equation, by loops over pixels in float64."""

import math
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Prediction, registry
from hieraseg.functional import random_order
from hieraseg.testing.cases import forget_anywhere, random_targets
from tests.support.embeddings import (
    CHANNELS,
    assert_same,
    evaluate,
    in_double,
    random_prediction,
    shuffled_hierarchy,
)
from tests.support.losses import TREE, make_loss
from tests.support.trees import SEEDS, Tree, ancestors_of, nested_trees


def published_triplets(
    tree: Tree,
    hierarchy: Hierarchy,
    embedding: Tensor,
    targets: Tensor,
    order: list[int],
    samples: int,
    margin: float | None,
) -> Tensor | float:
    """Mean over classes of the mean over their triplets, with pixels in a given order."""
    _, _, height, width = embedding.shape
    names = hierarchy.level_names[-1]
    ancestors = ancestors_of(tree)
    last = hierarchy.num_levels - 1
    pixels: list[tuple[str, Tensor]] = []
    for flat in order:
        b, y, x = flat // (height * width), flat // width % height, flat % width
        index = targets[b, -1, y * targets.shape[2] // height, x * targets.shape[3] // width]
        if index != IGNORE_INDEX and names[index] != hierarchy.background:
            pixels.append((names[index], F.normalize(embedding[b, :, y, x], dim=0)))

    def distance(one: str, other: str) -> int:
        return len(ancestors[last, one] ^ ancestors[last, other])

    classes = [name for name in names if name != hierarchy.background]
    tree_height = max(distance(one, other) for one in names for other in names) / 2
    if hierarchy.background:
        tree_height = max((distance(u, v) for u in classes for v in classes), default=0) / 2
    costs = []
    for name in classes:
        others = [distance(name, other) for other in classes if other != name]
        anchors = [z for other, z in pixels if other == name]
        near = [(c, z) for c, z in pixels if c != name and distance(name, c) == min(others)]
        far = [(c, z) for c, z in pixels if c != name and distance(name, c) > min(others)]
        triplets = list(zip(anchors, near, far, strict=False))[:samples]
        if triplets:
            total = 0.0
            for anchor, (positive, z_positive), (negative, z_negative) in triplets:
                m = margin
                if m is None:
                    longer = distance(name, negative) - distance(name, positive)
                    m = 0.1 + 0.5 * longer / tree_height
                d_positive, d_negative = 1 - anchor @ z_positive, 1 - anchor @ z_negative
                total = total + torch.relu(d_positive - d_negative + m)
            costs.append(total / len(triplets))
    return torch.stack(costs).mean() if costs else 0.0


@given(
    nested_trees(),
    SEEDS,
    st.booleans(),
    st.sampled_from([2, 200]),
    st.sampled_from([None, 0.6]),
    st.sampled_from([1, 2]),
)
def test_published_equation(
    tree: Tree, seed: int, background: bool, samples: int, margin: float | None, stride: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hierarchy = shuffled_hierarchy(tree, generator, background)
    size = (2, 3 * stride, 4 * stride)
    prediction = random_prediction(hierarchy, size, generator, stride)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator, 0.2)
    loss = make_loss("tree_triplet", hierarchy, samples=samples, margin=margin, seed=3)
    terms, slopes = evaluate(loss, prediction, targets, 0.7)
    exact = in_double(prediction)
    order = random_order(24, 3, 0.7).tolist()
    expected = published_triplets(tree, hierarchy, exact.embedding, targets, order, samples, margin)
    weight = (1 + math.cos((0.7 - 1) * math.pi)) / 4
    assert_same(terms, slopes, {"tree_triplet": weight * expected}, exact)


@pytest.mark.parametrize(
    ("ramp", "progress", "weight"),
    [
        (1.0, 0.0, 0.0),
        (1.0, 0.25, (1 - math.sqrt(0.5)) / 4),
        (1.0, 0.5, 0.25),
        (1.0, 1.0, 0.5),
        (0.5, 0.25, 0.25),
        (0.5, 0.5, 0.5),
        (0.5, 0.75, 0.5),
        (0.0, 0.0, 0.5),
    ],
)
def test_weight_by_hand(ramp: float, progress: float, weight: float) -> None:
    # All pixels have the same embedding, so each triplet costs its margin.
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"]})
    targets = hierarchy.encode(torch.tensor([[[0, 1, 2, 3]]]))
    prediction = Prediction((), torch.ones(1, CHANNELS, 1, 4))
    loss = make_loss("tree_triplet", hierarchy, ramp=ramp, margin=0.8)
    assert loss(prediction, targets, progress)["tree_triplet"].item() == pytest.approx(0.8 * weight)


@pytest.mark.parametrize(
    ("hierarchy", "classes", "margin"),
    [
        # Published: 0.6 for the three levels of persons and for the two of Cityscapes.
        (registry.hierarchies.get("pascal_part")(), ["head", "torso", "up_leg", "low_leg"], 0.6),
        (Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"], "z": None}), list("abcd"), 0.6),
        # From a: b is 2 edges away, c 4, d and e 6. The height of the tree is 3 edges.
        (
            Hierarchy.from_tree(
                {"r": {"x": {"p": ["a", "b"], "q": ["c"]}, "y": {"s": ["d", "e"]}}}
            ),
            list("abc"),
            # The nearest of c are a and b, so it has no negative. a and b: 0.1 + 0.5 * 2 / 3.
            0.1 + 1 / 3,
        ),
        (
            Hierarchy.from_tree(
                {"r": {"x": {"p": ["a", "b"], "q": ["c"]}, "y": {"s": ["d", "e"]}}}
            ),
            list("abd"),
            0.1 + 2 / 3,  # d has no positive, as e does not occur
        ),
        # The chain e of another root is equally far from all, so it has no triplets.
        (Hierarchy.from_tree({"x": ["a", "b"], "e": None}), list("abe"), 0.6),
    ],
)
def test_margins_by_hand(hierarchy: Hierarchy, classes: list[str], margin: float) -> None:
    leaves = [hierarchy.level_names[-1].index(name) for name in classes]
    targets = hierarchy.paths[leaves].T[None, :, None]
    prediction = Prediction((), torch.ones(1, CHANNELS, 1, len(classes)))
    loss = make_loss("tree_triplet", hierarchy)
    assert loss(prediction, targets)["tree_triplet"].item() == pytest.approx(0.5 * margin)


@pytest.mark.parametrize(
    ("tree", "classes"),
    [
        ({"x": ["a", "b"], "y": ["c"]}, ["a", "a", "b"]),  # no negative
        ({"x": ["a", "b"], "y": ["c"]}, ["a", "a", "c"]),  # no positive
        (["a", "b", "c"], ["a", "b", "c"]),  # all equally far from each other
        (["a"], ["a", "a", "a"]),
        ({"x": ["a", "b"], "background": None}, ["a", "b", "background"]),
    ],
)
def test_without_triplets_the_loss_is_zero_with_a_graph(tree: Any, classes: list[str]) -> None:
    background = "background" if "background" in tree else None
    hierarchy = Hierarchy.from_tree(tree, background=background)
    leaves = [hierarchy.level_names[-1].index(name) for name in classes]
    targets = hierarchy.paths[leaves].T[None, :, None]
    embedding = torch.randn(1, CHANNELS, 1, 3).requires_grad_()
    term = make_loss("tree_triplet", hierarchy)(Prediction((), embedding), targets)["tree_triplet"]
    assert term == 0
    assert torch.autograd.grad(term, embedding)[0].eq(0).all()


def test_void_and_background_are_excluded() -> None:
    hierarchy = Hierarchy.from_tree(TREE, background="background")
    generator = torch.Generator().manual_seed(0)
    size = (2, 8, 8)
    prediction = random_prediction(hierarchy, size, generator)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator)
    leaf = targets[:, -1]
    excluded = (leaf == IGNORE_INDEX) | (leaf == hierarchy.background_index(-1))
    scaled = torch.where(excluded[:, None], 1e3 * prediction.embedding, prediction.embedding)
    changed = Prediction(prediction.logits, (-scaled).detach().requires_grad_())
    original = Prediction(prediction.logits, (-prediction.embedding).detach().requires_grad_())
    loss = make_loss("tree_triplet", hierarchy)
    terms, slopes = evaluate(loss, original, targets)
    assert terms["tree_triplet"] > 0
    assert terms == evaluate(loss, changed, targets)[0]
    assert slopes[-1].movedim(1, -1)[excluded].eq(0).all()
    assert slopes[-1].movedim(1, -1)[~excluded].ne(0).any()


def test_sampling_depends_on_seed_and_progress_only() -> None:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"]})
    generator = torch.Generator().manual_seed(0)
    prediction = random_prediction(hierarchy, (2, 8, 8), generator)
    targets = random_targets(hierarchy, (2, 8, 8), generator)

    def value(seed: int, progress: float) -> float:
        # The weight is always 0.5, so that only the sampling differs.
        loss = make_loss("tree_triplet", hierarchy, samples=4, ramp=0.0, seed=seed)
        torch.rand(1)  # the global generator does not matter
        first = loss(prediction, targets, progress)["tree_triplet"].item()
        assert loss(prediction, targets, progress)["tree_triplet"].item() == first
        return first

    assert value(0, 0.5) == value(0, 0.5)
    assert len({value(seed, step / 10) for seed in (0, 1, -1) for step in range(10)}) == 30


def test_all_pixels_are_sampled_eventually() -> None:
    # The released code always uses the first pixels of a class.
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"]})
    generator = torch.Generator().manual_seed(0)
    prediction = random_prediction(hierarchy, (1, 6, 6), generator)
    targets = random_targets(hierarchy, (1, 6, 6), generator)
    loss = make_loss("tree_triplet", hierarchy, samples=2, margin=3.0)
    sampled = torch.zeros(1, 6, 6, dtype=torch.bool)
    for step in range(1, 40):
        sampled |= evaluate(loss, prediction, targets, step / 40)[1][-1].ne(0).any(1)
    assert sampled.all()


def test_embedding_is_required() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    with pytest.raises(ValueError, match="needs an embedding"):
        make_loss("tree_triplet", hierarchy)(
            Prediction(()), torch.zeros(1, 3, 2, 2, dtype=torch.int64)
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples must be positive, got 0"),
        ({"margin": -0.1}, "margin must be non-negative, got -0.1"),
        ({"ramp": 1.5}, "ramp must be in [0, 1], got 1.5"),
        ({"channels": 0}, "channels must be positive, got 0"),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("tree_triplet", Hierarchy.from_tree(TREE), **arguments)
