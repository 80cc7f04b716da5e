"""Weighted sum of losses."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction, registry
from hieraseg.testing.cases import random_logits, random_targets
from tests.support.trees import SEEDS, nested_trees

SIZE = (2, 2, 3)


class Probe(Loss):
    """One term, the sum of the mean logits per level; records its argument."""

    def __init__(
        self,
        term: str = "probe",
        levels: Any = "all",
        activation: Any = "softmax",
        channels: int = 0,
    ) -> None:
        super().__init__()
        self.term = term
        self.levels = levels
        self.activation = activation
        self.embedding_channels = channels

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        self.seen = prediction
        return {self.term: torch.stack([one.mean() for one in prediction.logits]).sum()}


class Timed(Probe):
    """A probe that takes the progress of training."""

    def forward(
        self, prediction: Prediction, targets: Tensor, progress: float = math.nan
    ) -> dict[str, Tensor]:
        self.progress = progress
        return super().forward(prediction, targets)


def total(losses: list[Loss], **settings: Any) -> Loss:
    return registry.losses.get("sum")(losses=losses, **settings)


def batch(seed: int = 0) -> tuple[Prediction, Tensor]:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": None})
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    embedding = torch.randn(2, 5, 1, 1, generator=generator)
    return Prediction(tuple(logits), embedding), random_targets(hierarchy, SIZE, generator)


def weight_at(ramp: tuple[float, float], progress: float, weight: float = 1.0) -> float:
    """The factor of a loss, computed from its term."""
    prediction, targets = batch()
    standalone = Probe()(prediction, targets)["probe"]
    loss = total([Probe()], weights=[weight], ramps=[ramp])
    return (loss(prediction, targets, progress)["probe"] / standalone).item()


@given(nested_trees(), SEEDS, st.floats(0, 3))
def test_weighted_terms_and_gradients(tree: Any, seed: int, weight: float) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = random_targets(hierarchy, SIZE, generator)
    parts = [registry.losses.get(name)(hierarchy=hierarchy) for name in ("tree_min", "weighted_ce")]
    prediction = Prediction(tuple(logits))
    found = total(parts, weights=[weight, 0.5])(prediction, targets)
    first, second = (part(prediction, targets) for part in parts)
    expected = {name: weight * term for name, term in first.items()}
    expected |= {name: 0.5 * term for name, term in second.items()}
    assert list(found) == list(expected)
    torch.testing.assert_close(found, expected)
    slopes = torch.autograd.grad(sum(found.values()), logits, retain_graph=True)
    torch.testing.assert_close(slopes, torch.autograd.grad(sum(expected.values()), logits))


def test_ramp_is_half_a_cosine() -> None:
    assert [weight_at((0.2, 0.6), progress) for progress in (0, 0.2, 0.6, 1)] == [0, 0, 1, 1]
    assert weight_at((0.2, 0.6), 0.4) == pytest.approx(0.5)
    # A quarter of the way: (1 - cos(pi/4)) / 2.
    assert weight_at((0.2, 0.6), 0.3, weight=2) == pytest.approx(2 * 0.1464466)
    assert weight_at((0.0, 0.0), 0.0) == 1
    assert [weight_at((0.5, 0.5), progress) for progress in (0.4, 0.5)] == [0, 1]


@given(st.floats(0.01, 1), st.floats(0, 1))
def test_ramp_of_li_et_al(end: float, progress: float) -> None:
    """arXiv:2203.14335: 1/4 (1 + cos((t - T) / T pi)) up to T, then 0.5."""
    published = 0.5
    if progress < end:
        published = (1 + math.cos((progress - end) / end * math.pi)) / 4
    assert weight_at((0.0, end), progress, weight=0.5) == pytest.approx(published, abs=1e-6)


def test_without_progress_the_weights_are_not_reduced() -> None:
    prediction, targets = batch()
    ramped = total([Probe()], ramps=[(0.3, 0.9)])(prediction, targets)
    assert ramped["probe"] == Probe()(prediction, targets)["probe"]


def test_progress_is_passed_on_in_nested_sums() -> None:
    inner, outer = Timed(), Timed()
    prediction, targets = batch()
    total([outer, Probe(), total([inner])])(prediction, targets, 0.25)
    assert (outer.progress, inner.progress) == (0.25, 0.25)


def test_repeated_names_are_numbered() -> None:
    losses = [Probe(), Probe("probe_2"), Probe(), total([Probe(), Probe()])]
    terms = total(losses)(*batch())
    assert list(terms) == ["probe", "probe_2", "probe_3", "probe_4", "probe_2_2"]


def test_loss_of_leaves_gets_leaf_logits_only() -> None:
    prediction, targets = batch()
    leaves, every = Probe(levels="leaves"), Probe("every")
    loss = total([leaves, every])
    assert loss.levels == "all"
    loss(prediction, targets)
    assert leaves.seen.logits == prediction.logits[-1:]
    assert every.seen.logits == prediction.logits
    assert leaves.seen.embedding is prediction.embedding


def test_losses_of_leaves_need_no_other_level() -> None:
    prediction, targets = batch()
    loss = total([Probe(levels="leaves"), Probe("other", levels="leaves")])
    assert loss.levels == "leaves"
    loss(Prediction(prediction.logits[-1:]), targets)


def test_activation_and_embedding_channels() -> None:
    loss = total([Probe(activation="sigmoid"), Probe(channels=8), Probe(channels=8)])
    assert (loss.activation, loss.embedding_channels) == ("sigmoid", 8)
    assert total([Probe()]).embedding_channels == 0


def test_loss_of_an_embedding_does_not_determine_the_scores() -> None:
    embedding = Probe(levels="none", channels=8, activation="sigmoid")
    loss = total([embedding, Probe("other", levels="leaves", activation="leaf_softmax")])
    assert (loss.levels, loss.activation) == ("leaves", "leaf_softmax")
    assert total([embedding, embedding]).levels == "none"


def test_buffers_are_moved_and_there_are_no_parameters() -> None:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": None})
    loss = total([registry.losses.get("tree_min")(hierarchy=hierarchy)])
    assert {buffer.device.type for buffer in loss.to("meta").buffers()} == {"meta"}
    assert not list(loss.parameters())


def test_void_batch_gives_zeros_with_a_graph() -> None:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": None})
    logits = random_logits(hierarchy, SIZE, torch.Generator().manual_seed(0))
    names = ("tree_min", "weighted_ce", "dice", "focal", "lovasz")
    loss = total([registry.losses.get(name)(hierarchy=hierarchy) for name in names])
    terms = loss(Prediction(tuple(logits)), torch.full((2, 2, 2, 3), IGNORE_INDEX))
    assert len(terms) == 10
    assert all(term == 0 for term in terms.values())
    assert all(slope.eq(0).all() for slope in torch.autograd.grad(sum(terms.values()), logits))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: total([]), "losses must be non-empty, got []"),
        (
            lambda: total([Probe()], weights=[1.0, 2.0]),
            "weights must have 1 values, one per loss, got 2",
        ),
        (lambda: total([Probe()], weights=[]), "weights must have 1 values, one per loss, got 0"),
        (
            lambda: total([Probe(), Probe()], weights=[0, 0.0]),
            "weights must not all be 0, with which nothing is trained",
        ),
        (
            lambda: total([Probe()], ramps=[(1.0, 1.0)]),  # which would never begin
            "ramps must be in [0, 1), got 1.0 at [0][0]",
        ),
        (lambda: total([Probe()], ramps=[]), "ramps must have 1 values, one per loss, got 0"),
        (lambda: total([Probe()], weights=[-1.0]), "weights must be non-negative, got -1.0 at [0]"),
        (
            lambda: total([Probe()], weights=[math.nan]),
            "weights must be finite and non-negative, got nan at [0]",
        ),
        (
            lambda: total([Probe()], ramps=[(0.5, 0.2)]),
            "ramps must be ascending, got (0.5, 0.2) at [0]",
        ),
        (
            lambda: total([Probe()], ramps=[(-0.5, 0.2)]),
            "ramps must be in [0, 1), got -0.5 at [0][0]",
        ),
        (
            lambda: total([Probe()], ramps=[(0.0, 2.0)]),
            "ramps must be in [0, 1], got 2.0 at [0][1]",
        ),
        (
            lambda: total([Probe(channels=8), Probe(channels=4)]),
            "losses must share one embedding, got embeddings of [4, 8] channels",
        ),
    ],
)
def test_invalid_arguments(make: Callable[[], Loss], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
