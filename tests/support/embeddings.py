"""Predictions with an embedding, and comparison with a reference in float64."""

import pytest
import torch
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.testing.cases import Size, random_logits
from tests.support.trees import Tree, leaf_paths

CHANNELS = 5
"""Channels of the embedding."""


def shuffled_hierarchy(
    tree: Tree, generator: torch.Generator, with_background: bool = False
) -> Hierarchy:
    """A hierarchy with leaves in random order; the first one may be background."""
    leaves = [path[-1] for path in leaf_paths(tree)]
    shuffled = [leaves[index] for index in torch.randperm(len(leaves), generator=generator)]
    return Hierarchy.from_tree(
        tree, labels=shuffled, background=shuffled[0] if with_background else None
    )


def random_prediction(
    hierarchy: Hierarchy,
    size: Size,
    generator: torch.Generator,
    stride: int = 1,
    spread: float = 3.0,
) -> Prediction:
    """Logits and an embedding that require gradients."""
    batch, height, width = size
    embedding = torch.randn(batch, CHANNELS, height // stride, width // stride, generator=generator)
    logits = random_logits(hierarchy, size, generator, spread)
    return Prediction(tuple(logits), embedding.requires_grad_())


def tensors_of(prediction: Prediction) -> list[Tensor]:
    """Logits and embedding."""
    return [*prediction.logits, prediction.embedding]


def in_double(prediction: Prediction) -> Prediction:
    """The same prediction in float64."""
    doubles = [tensor.detach().double().requires_grad_() for tensor in tensors_of(prediction)]
    return Prediction(tuple(doubles[:-1]), doubles[-1])


def gradients(total: Tensor, prediction: Prediction) -> list[Tensor]:
    """Gradients of logits and embedding; zero if the total does not depend on them."""
    return torch.autograd.grad(
        total,
        tensors_of(prediction),
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )


def evaluate(
    loss: Loss, prediction: Prediction, targets: Tensor, progress: float | None = None
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Terms, and the gradients of their sum."""
    arguments = {} if progress is None else {"progress": progress}
    terms = loss(prediction, targets, **arguments)
    slopes = gradients(torch.stack(list(terms.values())).sum(), prediction)
    return {name: term.detach() for name, term in terms.items()}, slopes


def assert_same(
    found: dict[str, Tensor],
    slopes: list[Tensor],
    expected: dict[str, Tensor],
    exact: Prediction,
    tolerance: float = 2e-4,
) -> None:
    """Compare terms and gradients with those of a reference computed from `exact`."""
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        assert found[name].item() == pytest.approx(
            torch.as_tensor(term).item(), rel=tolerance, abs=1e-6
        ), name
    total = torch.stack([torch.as_tensor(term) for term in expected.values()]).sum()
    if not total.requires_grad:
        assert all(slope.eq(0).all() for slope in slopes)
        return
    for slope, other in zip(slopes, gradients(total, exact), strict=True):
        scale = max(other.abs().max().item(), 1.0)
        torch.testing.assert_close(slope.double(), other, rtol=tolerance, atol=2e-6 * scale)
