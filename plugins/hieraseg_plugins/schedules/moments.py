"""Moments of training, by which recipes describe schedules."""

from typing import Annotated

from hieraseg.types import Pattern, Range

Duration = Annotated[
    str, Pattern(r"[1-9]\d{0,8} (step|epoch)s?", "a duration such as 500 steps or 2 epochs")
]
"""A number of steps or epochs."""
Moment = Annotated[float, Range(gt=0, lt=1)] | Duration
"""A share of the training steps, or the number of steps or epochs until then."""
DropFactor = Annotated[float, Range(gt=0, le=1)]
"""By what the learning rate is multiplied."""


def in_steps(moment: Moment, total_steps: int, steps_per_epoch: int | None) -> int:
    """The number of steps until a moment.

    Args:
        moment: the moment; also 0, for the beginning.
        total_steps: number of training steps.
        steps_per_epoch: number of steps in an epoch; None if no moment is given in epochs.

    Raises:
        ValueError: it is given in epochs, but `steps_per_epoch` is None.
    """
    if not isinstance(moment, str):
        return round(moment * total_steps)
    number, unit = moment.split()
    if unit.startswith("step"):
        return int(number)
    if steps_per_epoch is None:
        raise ValueError(f"{moment!r} needs `steps_per_epoch`, the number of steps in an epoch")
    return int(number) * steps_per_epoch
