"""Moments of training, by which recipes describe schedules."""

from typing import Annotated

from hieraseg.types import ArgumentError, Duration, Range

Moment = Annotated[float, Range(gt=0, lt=1)] | Duration
"""A share of the training steps, or the number of steps or epochs until then."""
DropFactor = Annotated[float, Range(gt=0, le=1)]
"""By what the learning rate is multiplied."""


def in_steps(
    argument: str,
    moment: Moment,
    total_steps: int,
    steps_per_epoch: int | None,
    may_be_last: bool = False,
) -> int:
    """The number of steps until a moment.

    Args:
        argument: name of the argument whose value it is.
        moment: the moment; also 0, for the beginning.
        total_steps: number of training steps.
        steps_per_epoch: number of steps in an epoch; None if no moment is given in epochs.
        may_be_last: whether it can be the end of training.

    Raises:
        ValueError: it is after the last step, or is given in epochs, but `steps_per_epoch` is None.
    """
    if not isinstance(moment, str):
        return round(moment * total_steps)
    number, unit = moment.split()
    steps = int(number)
    if unit.startswith("epoch"):
        if steps_per_epoch is None:
            raise ValueError(f"{moment!r} needs `steps_per_epoch`, the number of steps in an epoch")
        steps *= steps_per_epoch
    if steps > total_steps or (steps == total_steps and not may_be_last):
        bound = "at most the" if may_be_last else "less than the"
        raise ArgumentError(
            argument,
            f"must be {bound} {total_steps} steps of training, got {moment!r}; lower it, or write "
            "a share of them, such as 0.1",
        )
    return steps
