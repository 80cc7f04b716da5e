"""Means over a batch that is computed in parts, one after another (see `training.accumulate`).

A loss divides by totals of its targets, such as the number of valid pixels. Those of the whole
batch are found before the first part is computed, and given to the loss with each part.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from hieraseg.processes import mean_over_ranks, num_processes


class PartTotals(NamedTuple):
    """What a loss divides by, in the order in which it asks for it, float32.

    Attributes:
        own: totals of this part.
        mean: their mean over all parts, in all processes.
    """

    own: Float[Tensor, " totals"]
    mean: Float[Tensor, " totals"]


class _Current(threading.local):
    recorded: list[Tensor] | None = None
    given: PartTotals | None = None
    asked: int = 0


_CURRENT = _Current()


def mean_over_batch(total: Shaped[Tensor, ""]) -> Shaped[Tensor, ""]:
    """The mean of a total over all parts of a batch, in all processes.

    A total that depends on predictions is not known before all parts are computed: its mean is over
    the processes alone.

    Args:
        total: a number of pixels, or a sum of weights.
    """
    if _CURRENT.recorded is not None:
        _CURRENT.recorded.append(total.detach().float())
        return total
    mean = mean_over_ranks(total) if num_processes() > 1 else total
    if _CURRENT.given is None:
        return mean
    own, whole = _CURRENT.given
    index = _CURRENT.asked % len(own)  # the loss of auxiliary logits asks for the same again
    _CURRENT.asked += 1
    is_known = torch.isclose(total.detach().float(), own[index], rtol=1e-5, atol=0)
    return torch.where(is_known, whole[index], mean)


@contextmanager
def recorded_totals() -> Iterator[list[Float[Tensor, ""]]]:
    """Inside this context, the totals that a loss asks for are added to a list."""
    _CURRENT.recorded = []
    try:
        yield _CURRENT.recorded
    finally:
        _CURRENT.recorded = None


@contextmanager
def given_totals(totals: PartTotals | None) -> Iterator[None]:
    """Inside this context, a loss gets totals of the whole batch."""
    _CURRENT.given, _CURRENT.asked = totals, 0
    try:
        yield
    finally:
        _CURRENT.given = None


def part_totals(recorded: Sequence[Sequence[Float[Tensor, ""]]]) -> list[PartTotals | None]:
    """The totals of each part, from those that were recorded; None if there are none."""
    if not recorded[0]:
        return [None] * len(recorded)
    own = torch.stack([torch.stack(list(one)) for one in recorded])
    mean = mean_over_ranks(own.mean(0))
    return [PartTotals(one, mean) for one in own]
