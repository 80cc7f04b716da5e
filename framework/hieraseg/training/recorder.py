"""What a run writes into its folder: after each validation, and at its end."""

from functools import partial
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from hieraseg.console import log, warn
from hieraseg.errors import interrupt_code
from hieraseg.files.background import Background
from hieraseg.files.paths import quoted
from hieraseg.hierarchy.identity import describe
from hieraseg.metrics import Counts, PixelCounts, WatchedCounts
from hieraseg.model.weights import load_weights
from hieraseg.processes import broadcast, from_first, on_all_ranks
from hieraseg.runs.checkpoint import load_checkpoint
from hieraseg.runs.ending import check_place, hold, is_in_place, release
from hieraseg.runs.figures import save_run_figures
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import sha256
from hieraseg.training.checkpoints import Checkpoint, CheckpointWriter
from hieraseg.training.messages import by_score, score_name, validation_line
from hieraseg.training.result import cost_of, scores_of_val
from hieraseg.training.scalars import best_scalars
from hieraseg.training.setup import Parts
from hieraseg.training.snapshot import Snapshot
from hieraseg.training.state import State
from hieraseg.training.tracked import Tracked, log_tracked, tracked
from hieraseg.training.trackers import Trackers, take_images

_PATIENCE = 1  # seconds until an interrupted run says what it waits for
_AGREE_EVERY = 10  # steps after which processes agree whether the time has come


class Recorder:
    """Writes the run folder from the main process; the others only know where it is.

    What is written after a validation is written by a thread, while training goes on. As a context
    the recorder finishes that at its end, also after an error or an interrupt, so that `kept` and
    `interrupted` say afterwards what is there. Another interrupt ends it in the middle.

    Args:
        parts: the parts of the run.
        folder: the run folder.
        state: state of the run, new or restored.

    Attributes:
        folder: the run folder.
        checkpoints: the checkpoints in it.
        counts: what it needs to know of each validation.
    """

    def __init__(self, parts: Parts, folder: RunFolder, state: State) -> None:
        self.parts = parts
        self.is_main = parts.fabric.is_global_zero
        self.folder = folder
        self._lock = hold(self.folder) if self.is_main else None
        specs = parts.recipe.listed("trackers")
        self.counts = WatchedCounts if take_images(specs) else PixelCounts
        try:
            self.trackers = Trackers(specs if self.is_main else [], folder.path, state.step)
            self.trackers.log_hyperparams(parts.recipe)
        except BaseException as error:  # a tracker refuses its arguments, or an interrupt
            self._unlock(error)
            raise
        # As it is now, whatever happens to the file while the run trains.
        recipe = sha256(folder.recipe) if self.is_main else ""
        self.checkpoints = CheckpointWriter(
            folder, parts.recipe.checkpoints, lambda state: _metadata(parts, state, recipe), state
        )
        self._background = Background()
        self._is_finished = False
        self._is_in_place = True
        self._best_weights: Snapshot[dict[str, Tensor]] | None = None

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ending = error
        try:
            if isinstance(error, KeyboardInterrupt) and self._background.is_busy(_PATIENCE):
                log("finishing what is being written; press Ctrl-C again to end without it")
            self._background.wait()
        except KeyboardInterrupt as interrupt:
            ending = interrupt
            self._background.abandon(interrupt_code(interrupt))
            raise
        except Exception as failure:
            if error is None:
                ending = failure
                raise
            warn(str(failure))  # the run ends with the other error, which came first
        finally:
            self._close(ending)

    def save_step(self, state: State) -> None:
        """Begin to save the state, if that is due after this step. All processes call it.

        Raises:
            WriteError: what was written before could not be.
        """
        if self._is_due(state):
            checkpoint = self._checkpoint(state)
            if checkpoint is not None:
                self._background.start(partial(self.checkpoints.write, checkpoint))

    def save_validation(
        self, state: State, record: dict[str, Any], improved: bool, counts: Counts | None = None
    ) -> None:
        """Begin to write the record, curves, figures and checkpoints of a validation.

        What has to be as it is now is copied, so that training may go on. All processes call it.

        Args:
            state: state of the run.
            record: as `Meter.record` gives it, with the scores of `val`.
            improved: whether its score is the best so far.
            counts: those of `val`, of whose confusion matrices trackers get pictures.

        Raises:
            WriteError: what was written before could not be.
        """
        self._background.wait()  # so that memory has one copy of weights and state at most
        checkpoint = self._copy(state, improved)
        if not self.is_main:
            return
        shown = tracked(self.parts, state, record, counts or {}, self.trackers.take_images)
        self._background.start(partial(self._write_validation, record, shown, checkpoint))
        log(validation_line(self.parts.recipe, state, record, improved))
        if state.stops_early and state.is_complete:
            log(
                f"training stops early: {score_name(self.parts.recipe)} has not improved since "
                f"{state.plan.moment(state.best_step)} (validation.patience: {state.plan.patience})"
            )

    def save_now(self, state: State) -> None:
        """Save the state of a run that is about to end. All processes call it, and wait for it.

        Raises:
            WriteError: it cannot be written; in all processes alike.
        """
        is_saved = self.checkpoints.interval is None or self.checkpoints.is_copied(state)
        checkpoint = None if from_first(is_saved) else self._checkpoint(state)

        def save() -> None:
            self._background.wait()
            if checkpoint is not None:
                self.checkpoints.write(checkpoint)

        on_all_ranks(save)

    @property
    def can_be_resumed(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self._is_in_place and self.folder.checkpoint("last").is_dir()

    def check(self) -> None:
        """Raise what has gone wrong with writing meanwhile. Does not wait.

        Raises:
            WriteError: an epoch could not be written.
        """
        self._background.check()

    def kept(self) -> str:
        """What a run that ends early leaves behind, to be appended to a message."""
        best, last = (self.checkpoints.written.get(which) for which in ("best", "last"))
        if last is None:
            return f"; {self.folder.path} has no checkpoint"
        which = f"checkpoint of {last} is"
        if best not in (None, last):
            by = by_score(self.parts.recipe)
            which = f"checkpoints of {last} and of the best one{by}, {best}, are"
        return f"; the {which} kept in {self.folder.path}"

    def interrupted(self, state: State) -> str:
        """How far an interrupted run came, and what it leaves behind."""
        epochs = self.parts.recipe.training.epochs
        if self._is_finished:
            return (
                f"interrupted after epoch {state.epoch} of {epochs}, while figures were drawn; "
                f"the result of the run is complete in {self.folder.path}"
            )
        when = "in" if state.step else "before"
        if state.is_complete:
            when = "after"
        said = f"interrupted {when} epoch {max(state.epoch, 1)} of {epochs}{self.kept()}"
        return said + (self.go_on() or "; go on with the same command and --resume")

    def go_on(self) -> str:
        """How to go on with a run that ends early, to be appended to a message."""
        path = quoted(self.folder.path)
        return f"; go on with `hieraseg resume {path}`" if self.can_be_resumed else ""

    def restore_best(self, model: nn.Module) -> None:
        """Load the best weights into the model, in all processes."""
        if self.is_main:
            self._background.wait()
            if self._best_weights is not None:
                load_weights(model, self._best_weights.get(), "best weights")
            else:
                load_checkpoint(self.folder.checkpoint("best"), model)
        broadcast((*model.parameters(), *model.buffers()))

    def save_result(self, state: State, counts: Counts) -> None:
        """Write the scores of the best weights, the cost of the run, and its figures.

        Args:
            state: state at the end of the run.
            counts: counts of `val` with the best weights.

        Raises:
            UnwrittenScoresError: they cannot be written.
        """
        if not self.is_main:
            return
        store = self.parts.stores["val"]
        scores = scores_of_val(self.parts, state, counts)
        cost = cost_of(self.parts, state, scores, self._speeds())
        check_place(self.folder)
        # In one change, so that a run with a cost is a finished one.
        self.folder.write_scores("val", scores, counts, store.ids, cost)
        self._is_finished = True
        self.trackers.log_metrics(best_scalars(scores), state.step)
        self.trackers.finalize("success")
        images = self.parts.recipe.logging.images
        save_run_figures(self.folder, self.parts.fabric, self.parts.segmenter, store, images)

    def _close(self, error: BaseException | None) -> None:
        """End the trackers, unless the thread still uses them, and unlock the run folder."""
        self._is_in_place = is_in_place(self.folder)
        try:
            if not self._background.is_busy():
                is_stopped = isinstance(error, KeyboardInterrupt)
                self.trackers.finalize("aborted" if is_stopped else "failed")
        finally:
            self._unlock(error)

    def _unlock(self, error: BaseException | None) -> None:
        """Unlock the run folder, in which an error is noted."""
        if self._lock is not None:
            release(self.folder, self._lock, error)

    def _speeds(self) -> list[float]:
        """Images per second up to each validation, also of those before the run was resumed."""
        speeds = (record["images_per_second"] for record in self.folder.read_metrics())
        return [speed for speed in speeds if speed is not None]

    def _is_due(self, state: State, is_last: bool = False) -> bool:
        """Whether the state has to be saved; in all processes alike."""
        due = self.checkpoints.is_due(state, is_last)
        interval = self.checkpoints.interval
        if interval is not None and interval.unit == "minute" and not is_last:
            return state.step % _AGREE_EVERY == 0 and from_first(due)  # their clocks differ
        return due

    def _copy(self, state: State, improved: bool) -> Checkpoint | None:
        """Copy what a checkpoint holds; without checkpoints, the best weights stay in memory."""
        if self.checkpoints.interval is None:
            if improved and self.is_main:
                self._best_weights = Snapshot(state.scored_model.state_dict())
            return None
        if improved or self._is_due(state, state.is_complete):
            return self._checkpoint(state, improved)
        return None

    def _checkpoint(self, state: State, is_best: bool = False) -> Checkpoint | None:
        """A copy of the state; None in all processes but the main one."""
        if self.is_main:
            return self.checkpoints.copy(state, is_best)
        state.state_dict()  # in which all processes take part
        return None

    def _write_validation(
        self, record: dict[str, Any], shown: Tracked, checkpoint: Checkpoint | None
    ) -> None:
        """Write all of a validation, in the thread."""
        check_place(self.folder)
        self.folder.append_metrics(record)
        log_tracked(self.trackers, self.parts.hierarchy, shown)
        if checkpoint is not None:
            self.checkpoints.write(checkpoint)


def _metadata(parts: Parts, state: State, recipe: str) -> dict[str, Any]:
    """What loading a checkpoint needs to know beside the recipe (see `checkpoint.Metadata`).

    Args:
        parts: the parts of the run.
        state: its state.
        recipe: SHA-256 of its recipe.
    """
    return {
        "epoch": state.epoch,
        "step": state.step,
        "num_classes": parts.num_classes,
        "embedding_channels": parts.loss.embedding_channels,
        "activation": parts.loss.activation,
        "size": list(parts.recipe.input.size),
        "recipe": recipe,
        **describe(parts.hierarchy),
    }
