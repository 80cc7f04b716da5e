"""What the tests of losses share: go through its pixels, compare with an oracle."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy

Pixel = tuple[int, int, int]
"""Index in the batch, row, column."""


def pixels_of(target: Tensor) -> Iterator[tuple[Pixel, int]]:
    """Position and class of each valid pixel."""
    for position, index in np.ndenumerate(target.numpy()):
        if index != IGNORE_INDEX:
            yield position, int(index)


def assert_close(found: list[Tensor], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.double().numpy(), other, rtol=2e-4, atol=2e-6)


def derive(
    hierarchy: Hierarchy,
    logits: list[Tensor],
    targets: Tensor,
    cost: Callable[[list[Tensor], int, str, list[int]], Tensor],
) -> tuple[list[Any], list[Any]]:
    """Per level the mean cost of valid pixels, and the gradients of their sum, in float64.

    Args:
        hierarchy: the class tree.
        logits: `[B, C, H, W]` per level.
        targets: class per level.
        cost: of one pixel on one level: its logits per level, the level, the name of its class
            there, and its labels on all levels.
    """
    doubles = [level.detach().double().requires_grad_() for level in logits]
    terms = []
    for level, names in enumerate(hierarchy.level_names):
        pixels = list(pixels_of(targets[:, level]))
        total = 0 * sum(z.sum() for z in doubles)
        for (b, y, x), true in pixels:
            own = [z[b, :, y, x] for z in doubles]
            total = total + cost(own, level, names[true], targets[b, :, y, x].tolist())
        terms.append(total / max(len(pixels), 1))
    gradients = torch.autograd.grad(torch.stack(terms).sum(), doubles)
    return [term.detach().numpy() for term in terms], [g.numpy() for g in gradients]
