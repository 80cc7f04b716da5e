"""Intervals of training, as in `500 steps`, `2 epochs` or `10 minutes`."""

import re
from typing import Literal, NamedTuple, cast

from hieraseg.settings import INTERVAL

Unit = Literal["step", "epoch", "minute"]


class Interval(NamedTuple):
    """A number of steps, epochs or minutes."""

    number: int
    unit: Unit


def read_interval(text: str | None) -> Interval | None:
    """An interval as a recipe writes it; None if there is none.

    Args:
        text: as `settings.INTERVAL` describes it.
    """
    if text is None:
        return None
    match = re.fullmatch(INTERVAL, text)
    assert match is not None, f"{text!r} passed the check of its type"
    return Interval(int(match[1]), cast(Unit, match[2]))
