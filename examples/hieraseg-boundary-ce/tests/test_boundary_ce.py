"""The loss boundary_ce: its contract, and values worked out by hand."""

import math

import pytest
import torch
from hieraseg_boundary_ce.boundary_ce import BoundaryCrossEntropy, near_boundary

from hieraseg import IGNORE_INDEX, Hierarchy, Prediction
from hieraseg.testing import LossContract


class TestBoundaryCrossEntropy(LossContract):
    component = BoundaryCrossEntropy
    settings = ({}, {"weight": 0.0}, {"radius": 1})


def test_pixels_near_a_boundary() -> None:
    target = torch.tensor([[[0, 0, 0, 0, 1, 1, IGNORE_INDEX, 2]]])
    # A void pixel separates 1 from 2: they are two pixels apart.
    assert near_boundary(target, 1).int().tolist() == [[[0, 0, 0, 1, 1, 0, 1, 0]]]
    assert near_boundary(target, 2).int().tolist() == [[[0, 0, 1, 1, 1, 1, 1, 1]]]


def test_a_row_of_pixels_by_hand() -> None:
    hierarchy = Hierarchy.from_tree(["a", "b"])
    targets = torch.tensor([0, 0, 0, 1]).view(1, 1, 1, 4)
    # The true class has a score of 1/4 in the first pixel, and of 3/4 in all others.
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0] = math.log(3) * torch.tensor([-1.0, 1, 1, -1])
    loss = BoundaryCrossEntropy(hierarchy, weight=3.0, radius=1)
    (term,) = loss(Prediction((logits,)), targets).values()
    correct, wrong = -math.log(3 / 4), -math.log(1 / 4)
    assert term.item() == pytest.approx((wrong + correct + 4 * correct + 4 * correct) / 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1.0}, "weight must be non-negative, got -1.0"),
        ({"radius": 0}, "radius must be positive, got 0"),
    ],
)
def test_invalid_arguments(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoundaryCrossEntropy(Hierarchy.from_tree(["a", "b"]), **settings)
