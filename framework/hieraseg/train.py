"""Job: train a recipe, score the model after each epoch, keep the best."""

import time
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from hieraseg.console import warn
from hieraseg.data.batches.batch import Step
from hieraseg.data.batches.device import on_device
from hieraseg.data.sampling import generator, training_order
from hieraseg.draws import Draws
from hieraseg.errors import DivergedError
from hieraseg.metrics import Counts, PixelCounts, SplitCounts, summarize
from hieraseg.metrics.scoring import score_split
from hieraseg.processes import broadcast, failing_together, own_share
from hieraseg.recipe import Recipe
from hieraseg.runs.folder import RunFolder
from hieraseg.training.checks import check_weights, deciding_level, deciding_notice
from hieraseg.training.cost import reset_peak_memory
from hieraseg.training.graph import TakeStep, open_step
from hieraseg.training.meter import EpochMeter
from hieraseg.training.recorder import Recorder
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State


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
    """
    started = time.monotonic()
    with failing_together():
        parts, state = set_up(recipe)
        reset_peak_memory(parts.fabric.device)
        recorder = Recorder(parts, out, name)
        try:
            with recorder:
                train_and_score(parts, state, recorder)
                recorder.restore_best(state.model)
                # All counts take several times as long, so they are not taken after each epoch.
                counts = validate(parts, state, SplitCounts)
                recorder.save_result(state, counts, time.monotonic() - started)
        except DivergedError as error:
            raise DivergedError(f"{error}{recorder.kept()}") from error
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(recorder.interrupted(state)) from error
        parts.fabric.barrier()
    return recorder.folder if recorder.is_main else None


def train_and_score(parts: Parts, state: State, recorder: Recorder) -> None:
    """All epochs, each followed by validation."""
    take_step = open_step(parts, state)
    while state.step < parts.total_steps:
        record = train_epoch(parts, state, recorder, take_step)
        check_weights(state.model, parts.not_finite, state.epoch, state.step)
        counts = validate(parts, state, PixelCounts)
        record["val"] = scores = summarize(counts, parts.hierarchy)
        record["best_level"] = level = deciding_level(scores, parts.hierarchy)
        notice = deciding_notice(level, parts.hierarchy)
        if notice and state.epoch == 1:
            warn(notice)
        # Without a level, the last epoch is the best one.
        improved = state.update_best(scores["levels"][level - 1]["miou"] if level else state.epoch)
        recorder.save_epoch(state, record, improved)


def train_epoch(
    parts: Parts, state: State, recorder: Recorder, take_step: TakeStep
) -> dict[str, Any]:
    """One pass over the training split. Returns the epoch's record for `metrics.jsonl`."""
    fabric, settings, store = parts.fabric, parts.recipe.training, parts.stores["train"]
    state.epoch += 1
    state.totals.reset()
    order = training_order(
        len(store), settings.batch_size, settings.seed, state.epoch, store.members
    )
    order = order[: parts.total_steps - state.step]
    steps = (run_step(parts, state.epoch, *one) for one in enumerate(order, state.step + 1))
    parts.forward.train()
    with EpochMeter(parts, state, len(order)) as meter:
        for batch in on_device(meter.timed(parts.view.load(steps)), fabric.device):
            take_step(batch)
            meter.update()
            recorder.check()
    return meter.record()


def run_step(parts: Parts, epoch: int, step: int, rows: Int[Tensor, " batch"]) -> Step:
    """This process's images of a step, and their random numbers.

    Args:
        parts: the parts of the run.
        epoch: the epoch.
        step: step of the run, from 1; step 0 draws the order of images.
        rows: images of all processes.
    """
    fabric = parts.fabric
    rank, processes = fabric.global_rank, fabric.world_size
    random = generator(parts.recipe.training.seed, epoch, step)
    own = own_share(rows, rank, processes)
    return Step(own, Draws(random, len(rows), rank, processes))


def validate(parts: Parts, state: State, kind: type[PixelCounts] | type[SplitCounts]) -> Counts:
    """Counts of the validation split with the current weights."""
    # Those of the main process are the ones that are saved.
    broadcast(state.model.buffers())
    return score_split(
        parts.fabric,
        parts.segmenter,
        parts.targets,
        parts.stores["val"],
        kind,
    )
