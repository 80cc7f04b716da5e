"""The loss boundary_ce: its contract, and its numbers worked out by hand."""

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
    # The void pixel parts 1 from 2: within one pixel they do not meet, within two they do.
    assert near_boundary(target, 1).int().tolist() == [[[0, 0, 0, 1, 1, 0, 1, 0]]]
    assert near_boundary(target, 2).int().tolist() == [[[0, 0, 1, 1, 1, 1, 1, 1]]]


def test_a_row_of_pixels_by_hand() -> None:
    hierarchy = Hierarchy.from_tree(["a", "b"])
    targets = torch.tensor([0, 0, 0, 1]).view(1, 1, 1, 4)
    # The right class has odds of 3 to 1 everywhere but in the first pixel, where it has 1 to 3.
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0] = math.log(3) * torch.tensor([-1.0, 1, 1, -1])
    loss = BoundaryCrossEntropy(hierarchy, weight=3.0, radius=1)
    (term,) = loss(Prediction((logits,)), targets).values()
    right, wrong = -math.log(3 / 4), -math.log(1 / 4)
    assert term.item() == pytest.approx((wrong + right + 4 * right + 4 * right) / 10)


@pytest.mark.parametrize("settings", [{"weight": -1.0}, {"radius": 0}])
def test_values_out_of_range(settings: dict) -> None:
    with pytest.raises(ValueError, match="but the weight must not be"):
        BoundaryCrossEntropy(Hierarchy.from_tree(["a", "b"]), **settings)
