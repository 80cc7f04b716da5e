"""Intervals of training, as in `500 steps`, `2 epochs` or `10 minutes`, and what is due when."""

import re
from typing import Literal, NamedTuple, cast

from hieraseg.settings import INTERVAL

Unit = Literal["step", "epoch", "minute"]


class Interval(NamedTuple):
    """A number of steps, epochs or minutes."""

    number: int
    unit: Unit


def read_interval(text: str) -> Interval:
    """An interval as a recipe writes it.

    Args:
        text: as `settings.INTERVAL` describes it.
    """
    match = re.fullmatch(INTERVAL, text)
    assert match is not None, f"{text!r} passed the check of its type"
    return Interval(int(match[1]), cast(Unit, match[2]))


class Plan(NamedTuple):
    """When a run validates, and when it ends, in optimizer steps.

    Attributes:
        total_steps: steps of the whole run.
        steps_per_epoch: steps of a whole epoch.
        validate_every: steps from one validation to the next.
        patience: validations without a better score after which the run ends; None for none.
    """

    total_steps: int
    steps_per_epoch: int
    validate_every: int
    patience: int | None = None

    @property
    def is_by_epoch(self) -> bool:
        """Whether each epoch is followed by validation."""
        return self.validate_every == self.steps_per_epoch

    def epoch(self, step: int) -> int:
        """Epoch of a step, from 1; 0 for step 0, which is before the first."""
        return -(-step // self.steps_per_epoch)

    def next_validation(self, step: int) -> int:
        """The first step after this one that is followed by validation."""
        return min((step // self.validate_every + 1) * self.validate_every, self.total_steps)

    def moment(self, step: int) -> str:
        """A moment in words: `epoch 2` at the end of one, else as in `step 650`."""
        whole_epoch = step % self.steps_per_epoch == 0 or step == self.total_steps
        return f"epoch {self.epoch(step)}" if whole_epoch else f"step {step}"
