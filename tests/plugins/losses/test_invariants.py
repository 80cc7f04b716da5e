"""Properties shared by losses: equal references, void pixels, precision, large trees."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.testing.cases import forget_anywhere, random_logits, random_targets
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.embeddings import CHANNELS, evaluate, gradients, random_prediction, tensors_of
from tests.support.losses import TREE, assert_close, make_loss
from tests.support.trees import SEEDS, cuda


@given(SEEDS, st.integers(1, 6))
def test_one_level_matches_torch(seed: int, classes: int) -> None:
    hierarchy = Hierarchy.from_tree([f"class{index}" for index in range(classes)])
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, (2, 1, 3), generator)
    targets = random_targets(hierarchy, (2, 1, 3), generator)
    cross_entropy = F.cross_entropy(logits[0], targets[:, 0])
    one_hot = F.one_hot(targets[:, 0], classes).movedim(-1, 1).float()
    binary_cross_entropy = F.binary_cross_entropy_with_logits(logits[0], one_hot)
    for name, settings, reference in [
        ("bce", {}, binary_cross_entropy),
        ("max_constraint", {}, binary_cross_entropy),
        ("level_consistency", {"gamma": 0.0}, binary_cross_entropy),
        ("marginal_ce", {}, cross_entropy),
        ("hxe", {"alpha": 0.0}, cross_entropy),
        ("hyperbolic", {}, cross_entropy),
    ]:
        terms, gradients = terms_and_gradients(
            make_loss(name, hierarchy, **settings), logits, targets
        )
        assert_close(terms, [reference.item()])
        slope = torch.autograd.grad(reference, logits[0], retain_graph=True)[0]
        assert_close(gradients, [slope.numpy()])


Make = Callable[[Hierarchy], Loss]


def make(name: str, **arguments: Any) -> Make:
    return lambda hierarchy: make_loss(name, hierarchy, **arguments)


SHIPPED: dict[str, Make] = {
    "tree_triplet": make("tree_triplet", channels=CHANNELS),
    "tree_triplet constant": make("tree_triplet", channels=CHANNELS, margin=0.6, samples=3),
    "rmi": make("rmi"),
    "rmi fine": make("rmi", radius=2, stride=1),
    "logic_rules": make("logic_rules"),
    "hssn": make("hssn", channels=CHANNELS),
    "hssn cityscapes": make("hssn", channels=CHANNELS, published="cityscapes"),
}
every_loss = pytest.mark.parametrize("make", SHIPPED.values(), ids=SHIPPED.keys())


@every_loss
def test_void_pixels_have_zero_gradient(make: Make) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(1)
    prediction = random_prediction(hierarchy, (2, 12, 12), generator)
    targets = random_targets(hierarchy, (2, 12, 12), generator)
    void = torch.rand(2, 12, 12, generator=generator) < 0.5
    targets = targets.masked_fill(void[:, None], IGNORE_INDEX)
    slopes = [slope.movedim(1, -1) for slope in evaluate(make(hierarchy), prediction, targets)[1]]
    assert all(slope[void].eq(0).all() for slope in slopes)
    assert any(slope[~void].ne(0).any() for slope in slopes)


@every_loss
def test_void_batch_gives_zero_with_a_graph(make: Make) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    prediction = random_prediction(hierarchy, (2, 12, 12), torch.Generator().manual_seed(3))
    targets = torch.full((2, 3, 12, 12), IGNORE_INDEX)
    terms = make(hierarchy)(prediction, targets)
    assert all(term == 0 and term.requires_grad for term in terms.values())
    slopes = gradients(torch.stack(list(terms.values())).sum(), prediction)
    assert all(slope.eq(0).all() for slope in slopes)


@every_loss
def test_inputs_are_not_modified(make: Make) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(4)
    prediction = random_prediction(hierarchy, (2, 12, 12), generator)
    targets = forget_anywhere(random_targets(hierarchy, (2, 12, 12), generator), generator)
    tensors = [*tensors_of(prediction), targets]
    before = [tensor.detach().clone() for tensor in tensors]
    evaluate(make(hierarchy), prediction, targets)
    assert all(map(torch.equal, before, tensors))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_values_are_finite(make: Make, dtype: torch.dtype) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(5)
    size = (2, 12, 12)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator)
    for spread in (1.0, 200.0, 1e4):
        extreme = [
            tensor.detach().clamp(-1, 1).mul(spread).to(dtype).requires_grad_()
            for tensor in tensors_of(random_prediction(hierarchy, size, generator))
        ]
        prediction = Prediction(tuple(extreme[:-1]), extreme[-1])
        terms, slopes = evaluate(make(hierarchy), prediction, targets)
        assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
        assert all(slope.isfinite().all() and slope.dtype == dtype for slope in slopes)


@every_loss
def test_autocast_does_not_change_the_loss(make: Make) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(6)
    prediction = random_prediction(hierarchy, (2, 12, 12), generator)
    targets = random_targets(hierarchy, (2, 12, 12), generator)
    terms, slopes = evaluate(make(hierarchy), prediction, targets)
    with torch.autocast("cpu", torch.bfloat16):
        autocast_terms = make(hierarchy)(prediction, targets)
    autocast_slopes = gradients(torch.stack(list(autocast_terms.values())).sum(), prediction)
    assert autocast_terms == terms
    assert all(map(torch.equal, slopes, autocast_slopes))


@every_loss
def test_three_thousand_leaves(make: Make) -> None:
    tree = {f"group{i}": [f"leaf{i}_{j}" for j in range(60)] for i in range(50)}
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(8)
    prediction = random_prediction(hierarchy, (1, 12, 12), generator)
    targets = random_targets(hierarchy, (1, 12, 12), generator)
    terms, slopes = evaluate(make(hierarchy), prediction, targets)
    assert all(term.isfinite() and term != 0 for term in terms.values())
    assert all(slope.isfinite().all() for slope in slopes)


@every_loss
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=cuda)])
def test_cuda_matches_cpu(make: Make, device: str) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(7)
    size = (2, 30, 40)
    prediction = random_prediction(hierarchy, size, generator)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator)
    terms, slopes = evaluate(make(hierarchy), prediction, targets)
    moved = [t.detach().to(device).requires_grad_() for t in tensors_of(prediction)]
    moved_terms, moved_slopes = evaluate(
        make(hierarchy).to(device), Prediction(tuple(moved[:-1]), moved[-1]), targets.to(device)
    )
    for name, term in terms.items():
        assert moved_terms[name].item() == pytest.approx(term.item(), rel=1e-4, abs=1e-6)
    for slope, other in zip(moved_slopes, slopes, strict=True):
        torch.testing.assert_close(slope.cpu(), other, rtol=1e-3, atol=1e-6)
