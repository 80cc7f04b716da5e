"""HSSN: the published combinations of losses."""

import re
from typing import Any

import pytest
import torch

from hieraseg import Hierarchy
from hieraseg.testing.cases import forget_anywhere, random_targets
from tests.support.embeddings import random_prediction
from tests.support.losses import TREE, make_loss


@pytest.mark.parametrize(
    ("published", "parts"),
    [
        (
            "cityscapes",
            [(5.0, "tree_min", {}), (1.0, "weighted_ce", {}), (1.0, "tree_triplet", {"seed": 7})],
        ),
        (
            "person_part",
            [
                (0.5, "rmi", {"ridge": 1e-3}),
                (0.5, "tree_min", {"gamma": 2.0}),
                (1.0, "weighted_ce", {}),
                (1.0, "tree_triplet", {"seed": 7}),
            ],
        ),
    ],
)
def test_sum_of_its_parts(published: str, parts: list[tuple[float, str, dict[str, Any]]]) -> None:
    hierarchy = Hierarchy.from_tree(TREE, background="background")
    generator = torch.Generator().manual_seed(0)
    size = (2, 12, 12)
    prediction = random_prediction(hierarchy, size, generator)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator)
    loss = make_loss("hssn", hierarchy, published=published, seed=7, ramp=0.8)
    terms = loss(prediction, targets, 0.3)
    expected = {}
    for weight, name, arguments in parts:
        if name == "tree_triplet":
            part = make_loss(name, hierarchy, ramp=0.8, **arguments)(prediction, targets, 0.3)
        else:
            part = make_loss(name, hierarchy, **arguments)(prediction, targets)
        expected |= {key: weight * term.item() for key, term in part.items()}
    assert {key: term.item() for key, term in terms.items()} == pytest.approx(expected)
    assert all(value != 0 for value in expected.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ramp": -1.0}, "ramp must be in [0, 1], got -1.0"),
        ({"channels": 0}, "channels must be positive, got 0"),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("hssn", Hierarchy.from_tree(TREE), **arguments)
