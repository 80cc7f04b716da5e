"""Job: train a recipe, score the model now and then, keep the best."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hieraseg.console import warn
from hieraseg.data.batches.device import on_device
from hieraseg.errors import DivergedError, WriteError
from hieraseg.files.writing import check_writable
from hieraseg.metrics import Counts, PixelCounts, SplitCounts, summarize
from hieraseg.metrics.scoring import score_split
from hieraseg.processes import broadcast, failing_together
from hieraseg.recipe import Recipe
from hieraseg.runs.folder import RunFolder
from hieraseg.training.checks import check_weights
from hieraseg.training.determinism import deterministic_algorithms
from hieraseg.training.diagnosis import diagnose
from hieraseg.training.finite import BadStepError
from hieraseg.training.graph import TakeStep, open_step
from hieraseg.training.memory import explaining_memory
from hieraseg.training.meter import Meter
from hieraseg.training.monitor import monitor_notice, monitored
from hieraseg.training.new_run import new_folder
from hieraseg.training.notices import ConstantPredictions, unused_weights
from hieraseg.training.order import run_steps
from hieraseg.training.recorder import Recorder
from hieraseg.training.restoring import restore
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from hieraseg.training.stopping import Stopping
from hieraseg.training.validation_loss import validation_loss


def train(recipe: Recipe, out: Path, name: str) -> RunFolder | None:
    """Run a recipe.

    Args:
        recipe: the resolved recipe.
        out: folder of all runs.
        name: name of this run, below its recipe's.

    Returns:
        The run folder with its `result.json`; None in all processes but the main one.

    Raises:
        RecipeError: the recipe cannot be run.
        DataError: the data cannot be used.
        DivergedError: the loss, weights or scores are not finite. What was written stays.
        KeyboardInterrupt: the user stopped the run; the message says what was written.
        Stopped: so did the system.
    """
    with failing_together(), deterministic_algorithms(recipe.training.deterministic):
        if _is_single(recipe):
            RunFolder.check_place(out, recipe.path.stem)
        parts, state = set_up(recipe)
        folder = new_folder(parts, out, name)
        with Stopping() as stopping:
            return _run(parts, state, folder, stopping)


def resume(folder: RunFolder, recipe: Recipe, command: Sequence[str]) -> RunFolder | None:
    """Go on with a run that was stopped or killed, as if it had not been.

    Args:
        folder: the run folder.
        recipe: its recipe, in which only what `runs.resuming.MAY_CHANGE` names may differ.
        command: the command line, for the provenance.

    Returns, Raises:
        As `train`.
    """
    with failing_together(), deterministic_algorithms(recipe.training.deterministic):
        if _is_single(recipe):
            check_writable(folder.path)
        parts, state = set_up(recipe, has_weights=True)
        restore(parts, state, folder, command)
        with Stopping() as stopping:
            return _run(parts, state, folder, stopping)


def _is_single(recipe: Recipe) -> bool:
    """Whether one process trains alone. Of several, one that ends early would leave others."""
    return recipe.training.devices * recipe.training.num_nodes == 1


def _run(parts: Parts, state: State, folder: RunFolder, stopping: Stopping) -> RunFolder | None:
    """Train from a state to the end, and write the result."""
    recorder = Recorder(parts, folder, state)
    try:
        with recorder:
            try:
                train_and_score(parts, state, recorder, stopping)
            except BadStepError as error:
                raise diagnose(parts, state, folder, error.bad) from error
            except KeyboardInterrupt:
                if stopping.is_agreed:
                    recorder.save_now(state)
                raise
            recorder.restore_best(state.scored_model)
            # All counts take several times as long, so they are not taken after each epoch.
            counts = validate(parts, state, SplitCounts, stopping)
            recorder.save_result(state, counts)
            stopping.check()
    except DivergedError as error:
        raise DivergedError(f"{error}{recorder.kept()}") from error
    except WriteError as error:  # such as a full disk
        error.args = (f"{error}{recorder.go_on()}",)
        raise
    except KeyboardInterrupt as error:
        raise type(error)(recorder.interrupted(state)) from error
    return recorder.folder if recorder.is_main else None


def train_and_score(parts: Parts, state: State, recorder: Recorder, stopping: Stopping) -> None:
    """All steps, each interval of them followed by validation."""
    take_step, constant = open_step(parts, state), ConstantPredictions(parts.hierarchy)
    while not state.is_complete:
        with explaining_memory(parts.recipe):
            record = train_interval(parts, state, recorder, take_step, stopping)
        check_weights(state.model, parts.not_finite, state.epoch, state.step)
        counts = validate(parts, state, recorder.counts, stopping)
        notice = constant.notice(counts)
        if notice:
            warn(notice)
        record["val"] = summarize(counts, parts.hierarchy)
        if parts.for_loss is not None:
            record["val"] |= validation_loss(parts, state, parts.for_loss, stopping.is_near)
            stopping.check()
        recorder.save_validation(state, record, end_interval(parts, state, record), counts)
        stopping.check()


def train_interval(
    parts: Parts, state: State, recorder: Recorder, take_step: TakeStep, stopping: Stopping
) -> dict[str, Any]:
    """The steps up to the next validation, or the rest of them.

    Returns:
        Their record for `metrics.jsonl`.
    """
    last = state.begin_interval()
    steps = run_steps(parts, range(state.step + 1, last + 1))
    parts.forward.train()
    with Meter(parts, state, last) as meter:
        for batch in on_device(meter.timed(parts.view.load(steps)), parts.fabric.device):
            take_step(batch)
            notice = unused_weights(state.model) if state.step == 1 else None
            if notice:
                warn(notice)
            recorder.save_step(state)
            meter.update()
            recorder.check()
            stopping.check()
        return meter.record()


def end_interval(parts: Parts, state: State, record: dict[str, Any]) -> bool:
    """Note the score that decides, in the state and the record. Returns whether it is the best."""
    monitor = parts.recipe.validation.monitor
    found = monitored(record["val"], monitor, parts.hierarchy)
    record |= {"monitor": found.name, "score": found.value, "best_level": found.level}
    notice = monitor_notice(found, monitor, parts.hierarchy)
    if notice and state.validations == 0:
        warn(notice)
    return state.end_interval(found.rank)


def validate(
    parts: Parts, state: State, kind: type[PixelCounts] | type[SplitCounts], stopping: Stopping
) -> Counts:
    """Counts of the validation split with the current weights."""
    # Those of the main process are the ones that are saved.
    broadcast(state.scored_model.buffers())
    with explaining_memory(parts.recipe, scores=True):
        counts = score_split(
            parts.fabric,
            parts.segmenter,
            parts.targets,
            parts.stores["val"],
            kind,
            stopping.is_near,
        )
    stopping.check()
    return counts
