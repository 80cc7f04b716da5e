"""The checkpoints of a run: when one is due, and writing it."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from hieraseg.runs.checkpoint import save_checkpoint
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
        is_best: whether this epoch is the best so far.
    """

    metadata: dict[str, Any]
    state: Snapshot[dict[str, Any]]
    is_best: bool


class CheckpointWriter:
    """Writes the checkpoints `last`, from which a run is resumed, and `best`.

    Both are also written whenever an epoch is the best so far, so that each version of `last` has a
    version of `best` that is not newer.

    Args:
        folder: the run folder.
        settings: when, and how many versions to keep.
        metadata: makes the metadata of a checkpoint of the state as it is now.
        state: state of the run, new or restored.

    Attributes:
        interval: how often the state is saved; None for never.
        written: epoch of each checkpoint that is there.
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
        self.interval = read_interval(settings.every)
        epochs = {"last": state.epoch, "best": state.best_epoch}  # 0 if there is none
        self.written = {which: epoch for which, epoch in epochs.items() if epoch}
        self._metadata = metadata
        self._copied_at = time.monotonic()
        self._copied: tuple[int, int] | None = None  # step and scored epoch of the newest copy

    def is_due(self, state: State, is_last: bool = False) -> bool:
        """Whether the state as it is now has to be saved, after a step or a complete epoch.

        Args:
            state: the state.
            is_last: whether the run is complete.
        """
        if self.interval is None:
            return False
        number, unit = self.interval
        if unit == "minute":
            return is_last or time.monotonic() - self._copied_at >= 60 * number
        if state.scored != state.epoch:
            return unit == "step" and state.step % number == 0
        return is_last or (unit == "epoch" and state.epoch % number == 0)

    def copy(self, state: State, is_best: bool = False) -> Checkpoint:
        """Copy what a checkpoint holds, so that training may go on."""
        self._copied_at = time.monotonic()
        self._copied = (state.step, state.scored)
        return Checkpoint(self._metadata(state), Snapshot(state.state_dict()), is_best)

    def is_copied(self, state: State) -> bool:
        """Whether the newest copy is of the state as it is now."""
        return self._copied == (state.step, state.scored)

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; may be called in a thread.

        Raises:
            DivergedError: a weight is not finite.
            WriteError: it cannot be written.
        """
        state = dict(checkpoint.state.get())
        weights: dict[str, Tensor] = state.pop("model")
        metadata, keep = checkpoint.metadata, self.settings.keep
        save_checkpoint(self.folder.checkpoint("last"), weights, metadata, state, keep)
        self.written["last"] = metadata["epoch"]
        if checkpoint.is_best:
            save_checkpoint(self.folder.checkpoint("best"), weights, metadata, keep=keep)
            self.written["best"] = metadata["epoch"]
