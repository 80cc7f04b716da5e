"""The checkpoints of a run: when one is due, and writing it."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from hieraseg.runs.checkpoint import save_checkpoint
from hieraseg.runs.ending import check_place
from hieraseg.runs.folder import RunFolder
from hieraseg.settings import Checkpoints
from hieraseg.training.intervals import read_interval
from hieraseg.training.snapshot import Snapshot
from hieraseg.training.state import State


class Checkpoint(NamedTuple):
    """What is written of a moment of training, as it was then.

    Attributes:
        metadata: see `checkpoint.Metadata`.
        state: as `State.state_dict` gives it.
        is_best: whether its weights are the best so far.
    """

    metadata: dict[str, Any]
    state: Snapshot[dict[str, Any]]
    is_best: bool


class CheckpointWriter:
    """Writes the checkpoints `last`, from which a run is resumed, and `best`.

    Both are also written whenever a validation is the best so far, so that each version of `last`
    has a version of `best` that is not newer.

    Args:
        folder: the run folder.
        settings: when, and how many versions to keep.
        metadata: makes the metadata of a checkpoint of the state as it is now.
        state: state of the run, new or restored.

    Attributes:
        interval: how often the state is saved; None for never.
        written: moment of each checkpoint that is there, as in `epoch 2` or `step 650`.
    """

    def __init__(
        self,
        folder: RunFolder,
        settings: Checkpoints,
        metadata: Callable[[State], dict[str, Any]],
        state: State,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.interval = None if settings.every is None else read_interval(settings.every)
        self._moment = state.plan.moment
        steps = {"last": state.step, "best": state.best_step}  # 0 if there is none
        self.written = {which: self._moment(step) for which, step in steps.items() if step}
        self._metadata = metadata
        self._copied_at = time.monotonic()
        self._copied: tuple[int, int] | None = None  # step and scored step of the newest copy

    def is_due(self, state: State, is_last: bool = False) -> bool:
        """Whether the state as it is now has to be saved, after a step or a validation.

        Args:
            state: the state.
            is_last: whether the run is complete.
        """
        if self.interval is None:
            return False
        number, unit = self.interval
        if unit == "minute":
            return is_last or time.monotonic() - self._copied_at >= 60 * number
        if is_last:
            return True
        is_scored = state.scored == state.step
        if unit == "step":
            return state.step % number == 0 and not is_scored
        will_be_scored = state.step == state.plan.next_validation(state.scored)
        is_end = state.step % (number * state.plan.steps_per_epoch) == 0
        return is_end and (is_scored or not will_be_scored)

    def copy(self, state: State, is_best: bool = False) -> Checkpoint:
        """Copy what a checkpoint holds, so that training may go on."""
        self._copied_at = time.monotonic()
        self._copied = (state.step, state.scored)
        return Checkpoint(self._metadata(state), Snapshot(state.state_dict()), is_best)

    def is_copied(self, state: State) -> bool:
        """Whether the newest copy is of the state as it is now."""
        return self._copied == (state.step, state.scored)

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, unless a step was not finite, since the run is about to end then.

        It may be called in a thread.

        Raises:
            DivergedError: a weight is not finite.
            WriteError: it cannot be written, or the run folder is no longer in its place.
        """
        state = dict(checkpoint.state.get())
        if state["finite"]["stopped"]:
            return
        weights: dict[str, Tensor] = state.pop("model")
        metadata, keep = checkpoint.metadata, self.settings.keep
        check_place(self.folder)
        save_checkpoint(self.folder.checkpoint("last"), weights, metadata, state, keep)
        self.written["last"] = self._moment(metadata["step"])
        if checkpoint.is_best:
            save_checkpoint(self.folder.checkpoint("best"), weights, metadata, keep=keep)
            self.written["best"] = self._moment(metadata["step"])
