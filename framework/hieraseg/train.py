"""The first job: train what a recipe names, score it each epoch, keep the best."""

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch

from hieraseg.console import console, log, training_bar
from hieraseg.contracts import Prediction, asks_for
from hieraseg.data.batches import Batch, load
from hieraseg.data.sampling import generator, training_order
from hieraseg.errors import DivergedError, RecipeError
from hieraseg.metrics import Counts, PixelCounts, SplitCounts, summarize
from hieraseg.metrics.scoring import all_counts, score_split
from hieraseg.processes import on_all_ranks, own_share
from hieraseg.recipe import Recipe
from hieraseg.runs.checkpoint import load_checkpoint
from hieraseg.runs.folder import RunFolder
from hieraseg.training.recorder import keep_epoch, keep_result, start_folder
from hieraseg.training.setup import Parts, assemble
from hieraseg.training.state import State
from hieraseg.training.trackers import TensorBoard

_REPORT_EVERY = 10  # steps between looks at the loss; each look waits for the device
_LOG_EVERY = 60  # seconds between lines in a log file, which shows no progress bar


def train(recipe: Recipe, out: Path, name: str) -> RunFolder | None:
    """Run a recipe.

    Args:
        recipe: the resolved recipe.
        out: folder of all runs.
        name: of this run, below its recipe's name.

    Returns:
        The run folder, which has a `result.json` now; None in all processes but the first.

    Raises:
        HierasegError: see its subclasses; what was written until then stays.
    """
    parts = assemble(recipe)
    try:
        return train_and_score(parts, out, name)
    except BaseException:
        # The other processes would wait for this one.
        for process in getattr(parts.fabric.strategy.launcher, "procs", []):
            process.terminate()
        raise


def train_and_score(parts: Parts, out: Path, name: str) -> RunFolder | None:
    """All epochs, each with its evaluation; then the result."""
    recipe, state = parts.recipe, State()
    main = parts.fabric.is_global_zero
    made = on_all_ranks(parts.fabric, lambda: start_folder(parts, out, name))
    folder = cast(RunFolder, parts.fabric.broadcast(made))
    tensorboard = main and recipe.logging.tensorboard
    board = TensorBoard(folder.tensorboard if tensorboard else None)
    started = time.monotonic()
    while state.step < parts.total_steps:
        record = train_epoch(parts, state, folder)
        share(parts, parts.segmenter.model.buffers())
        counts = score_val(parts, PixelCounts)
        record["val"] = summarize(counts, parts.hierarchy)
        score = record["val"]["levels"][-1]["miou"] or 0.0
        improved = score > state.best_score
        if improved:
            state.best_epoch, state.best_score, state.best_counts = state.epoch, score, counts
        if main:
            keep_epoch(parts, state, folder, board, record, improved)
    counts = score_best(parts, state, folder)
    if main:
        keep_result(parts, state, folder, board, counts, time.monotonic() - started)
    parts.fabric.barrier()
    return folder if main else None


def share(parts: Parts, tensors: Iterable[torch.Tensor]) -> None:
    """Give every process the first one's values, which are those that are saved."""
    if parts.fabric.world_size > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor.detach(), 0)


def score_val(parts: Parts, kind: type[PixelCounts] | type[SplitCounts]) -> Counts:
    """Counts of the validation split with the present weights."""
    return score_split(
        parts.fabric,
        parts.segmenter,
        parts.dataset,
        parts.val_store,
        parts.recipe.evaluation,
        kind,
    )


def score_best(parts: Parts, state: State, folder: RunFolder) -> Counts:
    """All counts with the best epoch's weights; those taken then, where no checkpoint is kept.

    Counting all takes several times as long, so that no epoch does it.
    """
    if not parts.recipe.logging.checkpoints:
        assert state.best_counts is not None
        return state.best_counts
    model = parts.segmenter.model
    if parts.fabric.is_global_zero:
        load_checkpoint(folder.checkpoint("best"), model)
    share(parts, (*model.parameters(), *model.buffers()))
    return score_val(parts, SplitCounts)


def train_epoch(parts: Parts, state: State, folder: RunFolder) -> dict[str, Any]:
    """One pass over the training split; returns the epoch's record for `metrics.jsonl`.

    Raises:
        DivergedError: the loss is not finite.
    """
    fabric, settings = parts.fabric, parts.recipe.training
    state.epoch += 1
    order = training_order(len(parts.train_store), settings.batch_size, settings.seed, state.epoch)[
        : parts.total_steps - state.step
    ]
    mine = [own_share(rows, fabric.global_rank, fabric.world_size) for rows in order]
    on_cuda = fabric.device.type == "cuda"
    counts = PixelCounts(parts.hierarchy, 1, fabric.device)
    terms: dict[str, torch.Tensor] = {}
    waited = 0.0
    started = ready = logged = time.monotonic()
    parts.model.train()
    with training_bar() as bar:
        task = bar.add_task(f"epoch {state.epoch}/{settings.epochs}", total=len(mine), text="")
        for step, batch in enumerate(load(parts.train_store, mine, on_cuda), 1):
            waited += time.monotonic() - ready
            for term, value in train_step(parts, state, batch.to(fabric.device), counts).items():
                terms[term] = terms.get(term, 0) + value.detach()
            if step % _REPORT_EVERY == 0 or step == len(mine):
                mean = mean_terms(parts, terms, step)
                loss = sum(mean.values())
                speed = step * settings.batch_size / (time.monotonic() - started)
                text = f"loss {loss:.4f}, {speed:.0f} images/s"
                bar.update(task, completed=step, text=text)
                if not console.is_terminal and time.monotonic() - logged > _LOG_EVERY:
                    logged = time.monotonic()
                    log(f"epoch {state.epoch}/{settings.epochs}, step {step}/{len(mine)}: {text}")
                if not math.isfinite(loss):
                    raise DivergedError(diverged(parts, state, folder))
            ready = time.monotonic()
    return {
        "epoch": state.epoch,
        "step": state.step,
        "loss": loss,
        "terms": mean,
        "learning_rate": parts.optimizer.param_groups[-1]["lr"],
        "images_per_second": speed,
        "waiting_for_data": waited / (ready - started),
        "train": summarize(all_counts(fabric, counts), parts.hierarchy),
    }


def mean_terms(parts: Parts, terms: dict[str, torch.Tensor], steps: int) -> dict[str, float]:
    """Each term's mean over steps and processes, so that all of them see a divergence at once."""
    total = torch.stack(list(terms.values()))
    if parts.fabric.world_size > 1:
        total = cast(torch.Tensor, parts.fabric.all_reduce(total, reduce_op="mean"))
    return dict(zip(terms, (total / steps).tolist(), strict=True))


def train_step(
    parts: Parts, state: State, batch: Batch, counts: PixelCounts
) -> dict[str, torch.Tensor]:
    """One optimizer step on a batch of this process; returns the terms of the loss."""
    fabric, seed = parts.fabric, parts.recipe.training.seed
    # Step 0 of an epoch draws its order, so augmentation counts from 1.
    draw = generator(seed, state.epoch, state.step + 1)
    tables = parts.hierarchy.on(batch.masks.device)
    images, masks = parts.augment(
        batch.images,
        batch.masks,
        draw,
        fabric.global_rank,
        fabric.world_size,
        tables.mirrored_labels if parts.hierarchy.pairs else None,
    )
    targets = parts.hierarchy.encode(masks)
    prediction = forward(parts, images)
    if asks_for(parts.loss.forward, "progress"):
        terms = parts.loss(prediction, targets, progress=state.step / parts.total_steps)
    else:
        terms = parts.loss(prediction, targets)
    parts.optimizer.zero_grad()
    fabric.backward(sum(terms.values()))
    parts.optimizer.step()
    parts.schedule.step()
    state.step += 1
    with torch.no_grad():
        rows = torch.zeros(len(masks), dtype=torch.int64, device=masks.device)
        counts.add(rows, parts.segmenter.classes(prediction), targets)
    return terms


def forward(parts: Parts, images: torch.Tensor) -> Prediction:
    """The model's answer. Raises RecipeError for a feature map too small to be normalised."""
    try:
        return cast(Prediction, parts.model(images))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise RecipeError(
            "training: batch normalisation needs more than one value per channel, and the last "
            "feature map has one; raise training.batch_size or data.size"
        ) from error


def diverged(parts: Parts, state: State, folder: RunFolder) -> str:
    """One sentence on a loss that is not finite."""
    kept = (
        f"; the best checkpoint, of epoch {state.best_epoch}, is kept in {folder.path}"
        if state.best_epoch and parts.recipe.logging.checkpoints
        else ""
    )
    return (
        f"training diverged in epoch {state.epoch} near step {state.step}: the loss is not a "
        f"finite number; lower optimizer.lr, or train in precision 32-true{kept}"
    )
