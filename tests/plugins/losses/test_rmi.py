"""Region mutual information against its equation, per image and class in float64."""

import math
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Prediction
from hieraseg.testing.cases import Size, forget_anywhere, random_targets
from tests.support.embeddings import assert_same, evaluate, in_double, random_prediction
from tests.support.losses import TREE, make_loss


def max_pool(image: Tensor, stride: int) -> Tensor:
    """Maximum of windows of `stride` pixels; the first starts half a window outside the image."""
    starts = [
        range(-(stride // 2), side + stride // 2 - stride + 1, stride) for side in image.shape
    ]
    rows = []
    for y in starts[0]:
        windows = [image[max(y, 0) : y + stride, max(x, 0) : x + stride] for x in starts[1]]
        rows.append(torch.stack([window.max() for window in windows]))
    return torch.stack(rows)


def published_rmi(
    scores: Tensor, target_map: Tensor, radius: int, stride: int, ridge: float
) -> Tensor:
    """Zhao et al. 2019 for one image and class, from the covariance of the posterior."""
    points = []
    for image in (target_map, scores):
        pooled = max_pool(image, stride)
        height, width = (side - radius + 1 for side in pooled.shape)
        regions = [
            pooled[y : y + radius, x : x + radius].flatten()
            for y in range(height)
            for x in range(width)
        ]
        points.append(torch.stack(regions) - torch.stack(regions).mean(0))
    y, p = points
    eye = ridge * torch.eye(radius**2, dtype=torch.float64)
    unexplained = y.T @ y - (y.T @ p) @ torch.linalg.inv(p.T @ p + eye) @ (p.T @ y)
    return 0.5 * torch.linalg.slogdet(unexplained + eye).logabsdet / radius**2


@pytest.mark.parametrize(
    ("radius", "stride", "ridge", "size"),
    [
        (3, 3, 5e-4, (2, 13, 15)),
        (3, 1, 1e-3, (2, 6, 7)),
        (2, 2, 5e-4, (2, 9, 6)),
        (1, 4, 0.1, (1, 9, 9)),
    ],
)
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_published_equation(
    radius: int, stride: int, ridge: float, size: Size, ignored: float
) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(radius)
    prediction = random_prediction(hierarchy, size, generator)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator, ignored)
    loss = make_loss("rmi", hierarchy, radius=radius, stride=stride, ridge=ridge)
    terms, slopes = evaluate(loss, prediction, targets)
    exact = in_double(prediction)
    expected = {}
    for level, logits in enumerate(exact.logits):
        valid = targets[:, level] != IGNORE_INDEX
        total = torch.zeros((), dtype=torch.float64)
        for image in range(size[0]):
            for index in range(logits.shape[1]):
                scores = logits[image, index].sigmoid() * valid[image]
                target_map = (targets[image, level] == index).double()
                total = total + published_rmi(scores, target_map, radius, stride, ridge)
        expected[f"rmi_level{level + 1}"] = total / size[0]
    assert_same(terms, slopes, expected, exact, tolerance=1e-3)


def test_perfect_prediction_is_the_minimum() -> None:
    hierarchy = Hierarchy.from_tree(["a", "b", "c"])  # c does not occur
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(2, (2, 1, 18, 18), generator=generator)
    perfect = 40.0 * F.one_hot(targets[:, 0], 3).movedim(-1, 1) - 20.0
    loss = make_loss("rmi", hierarchy)

    def value(logits: Tensor) -> float:
        return loss(Prediction((logits,)), targets)["rmi_level1"].item()

    noise = torch.randn(perfect.shape, generator=generator)
    # S - S (S + r)^-1 S lies between 0 and r, so M + r lies between r and 2 r.
    minimum = math.log(5e-4) / 2
    assert 3 * minimum <= value(perfect) <= minimum + 2 * math.log(2 * 5e-4) / 2
    assert value(perfect) < value(perfect / 10 + noise) < value(noise)


def test_nan_of_a_single_pixel_is_not_hidden() -> None:
    hierarchy = Hierarchy.from_tree(["a", "b"])
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 18, 18, generator=generator)
    logits[0, 0, 9, 9] = math.nan
    targets = torch.randint(2, (1, 1, 18, 18), generator=generator)
    assert make_loss("rmi", hierarchy)(Prediction((logits,)), targets)["rmi_level1"].isnan()


def test_images_without_a_label_or_a_region_are_left_out() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(1)
    size = (3, 12, 12)
    prediction = random_prediction(hierarchy, size, generator)
    targets = random_targets(hierarchy, size, generator)
    targets[1] = IGNORE_INDEX
    terms, slopes = evaluate(make_loss("rmi", hierarchy), prediction, targets)
    seen = Prediction(tuple(level.detach()[[0, 2]] for level in prediction.logits))
    expected = make_loss("rmi", hierarchy)(seen, targets[[0, 2]])
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {name: term.item() for name, term in expected.items()}
    )
    assert all(slope[1].eq(0).all() for slope in slopes)
    small = random_prediction(hierarchy, (2, 4, 40), generator)
    terms, slopes = evaluate(
        make_loss("rmi", hierarchy), small, random_targets(hierarchy, (2, 4, 40), generator)
    )
    assert [term.item() for term in terms.values()] == [0, 0, 0]
    assert all(slope.eq(0).all() for slope in slopes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius": 0}, "radius must be positive, got 0"),
        ({"stride": 0}, "stride must be positive, got 0"),
        ({"ridge": 0.0}, "ridge must be positive, got 0.0"),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("rmi", Hierarchy.from_tree(TREE), **arguments)
