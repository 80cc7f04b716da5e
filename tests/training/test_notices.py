"""What is said once of a run."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn

import hieraseg
from hieraseg import Hierarchy
from hieraseg.metrics import Counts, PixelCounts
from hieraseg.settings import Training
from hieraseg.training.intervals import Plan
from hieraseg.training.notices import ConstantPredictions, length_notices, notices, unused_weights
from tests.support.runs import QUICKSTART

VIT = {"backbone": "timm", "backbone.model": "test_vit", "decoder": "linear"}


@pytest.mark.parametrize(
    ("frozen", "said"), [(["backbone"], 1), (["backbone.network"], 0), (["head"], 0), ([], 0)]
)
def test_frozen_parts_with_random_weights(frozen: Sequence[str], said: int) -> None:
    parts = hieraseg.build(QUICKSTART, {**VIT, "training.freeze": frozen})
    sentences = list(notices(parts.recipe, parts.hierarchy, parts.model))
    expected = (
        "training.freeze keeps backbone.pyramid as it is, which has random weights; to train it, "
        "freeze the other parts of the backbone by name"
    )
    assert sentences == [expected] * said


@pytest.mark.parametrize(("accumulate", "images"), [(1, None), (4, 2)])
def test_batch_normalization_of_parts(accumulate: int, images: int | None) -> None:
    changes = {"training.batch_size": 8, "training.accumulate": accumulate}
    parts = hieraseg.build(QUICKSTART, {**changes, "backbone.weights": None})
    (*said,) = notices(parts.recipe, parts.hierarchy, parts.model)
    expected = f"batch normalization uses the {images} images of each part of a batch"
    assert [one.startswith(expected) for one in said] == [True] * (images is not None)


def test_weights_without_a_gradient_are_named() -> None:
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(4)))
    model[3].requires_grad_(False)
    model[0](torch.ones(1)).sum().backward()
    said = unused_weights(model)
    assert said is not None
    assert "does not depend on the weights 1.weight, 1.bias, 2.weight and 1 more, which" in said
    for one in model[:3].parameters():
        one.grad = torch.zeros_like(one)
    assert unused_weights(model) is None


TREE = Hierarchy.from_tree({"background": None, "body": ["head", "arm"]})


def counts(predicted: list[int], targets: list[int]) -> Counts:
    """Counts of an image, given as leaves."""
    found = PixelCounts(TREE, 1, torch.device("cpu"))
    classes = [TREE.encode(torch.tensor(one)[None, None]) for one in (predicted, targets)]
    found.add(torch.tensor([0]), classes[0], classes[1])
    return found.arrays()


CONSTANT = counts([0, 0, 0], [0, 1, 2])
BODY = counts([1, 2, 1], [0, 1, 2])
"""Constant on level 1 only."""
SINGLE = counts([1, 1], [1, 1])
"""Rightly so."""


@pytest.mark.parametrize(
    ("validations", "said"),
    [
        ([CONSTANT, BODY, BODY, CONSTANT], [None, "body on level 1", None, None]),
        ([CONSTANT, CONSTANT], [None, "background on level 1"]),
        ([BODY, counts([0, 1, 1], [0, 1, 2]), BODY], [None, None, None]),
        ([SINGLE, SINGLE], [None, None]),
    ],
)
def test_one_class_in_two_validations(
    validations: Sequence[Counts], said: Sequence[str | None]
) -> None:
    constant = ConstantPredictions(TREE)
    for found, expected in zip(validations, said, strict=True):
        notice = constant.notice(found)
        assert notice is None if expected is None else f"as {expected}, in" in (notice or "")


def test_more_steps_and_images_than_there_are() -> None:
    plan, settings = Plan(40, 20, 20), Training(epochs=2, max_steps=41, batch_size=5)
    assert list(length_notices(settings, plan, 4)) == [
        "training.max_steps 41 has no effect, since 2 epochs are 40 steps; for more, increase "
        "training.epochs",
        "training.batch_size 5 is more than the 4 images of the split train, so each step has 4",
    ]
    assert not list(length_notices(replace(settings, max_steps=40), plan, 5))
