"""The first job: train what a recipe names, score it each epoch, keep the best."""

import math
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from hieraseg.assemble import Parts, State, assemble, in_agreement
from hieraseg.checkpoint import save_checkpoint
from hieraseg.contracts import Prediction, asks_for
from hieraseg.data.batches import Batch, generator, load, own_share, training_order
from hieraseg.errors import DivergedError, RecipeError
from hieraseg.evaluate import all_counts, draw_rows, protocol, score_split, spread_rows
from hieraseg.logs import TensorBoard
from hieraseg.metrics import PixelCounts, summarize
from hieraseg.progress import log, training_bar
from hieraseg.provenance import provenance
from hieraseg.recipe import Recipe
from hieraseg.run_folder import RunFolder, write_json

_REPORT_EVERY = 10  # steps between looks at the loss; each look waits for the device


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
    made = in_agreement(parts.fabric, lambda: start_folder(parts, out, name))
    folder = cast(RunFolder, parts.fabric.broadcast(made))
    tensorboard = main and recipe.logging.tensorboard
    board = TensorBoard(folder.tensorboard if tensorboard else None)
    started = time.monotonic()
    while state.step < parts.total_steps:
        record = train_epoch(parts, state, folder)
        share_buffers(parts)
        counts = score_split(
            parts.fabric, parts.segmenter, parts.dataset, parts.val_store, recipe.evaluation
        )
        record["val"] = summarize(counts, parts.hierarchy)
        score = record["val"]["levels"][-1]["miou"] or 0.0
        improved = score > state.best_score
        if improved:
            state.best_epoch, state.best_score, state.best_counts = state.epoch, score, counts
        if main:
            keep_epoch(parts, state, folder, board, record, improved)
    if main:
        keep_result(parts, state, folder, board, time.monotonic() - started)
    parts.fabric.barrier()
    return folder if main else None


def share_buffers(parts: Parts) -> None:
    """Give every process the first one's batch statistics, which are those that are saved."""
    if parts.fabric.world_size > 1:
        for buffer in parts.segmenter.model.buffers():
            torch.distributed.broadcast(buffer, 0)


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
    started = ready = time.monotonic()
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
                bar.update(task, completed=step, text=f"loss {loss:.4f}, {speed:.0f} images/s")
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
    images, masks = parts.augment(
        batch.images, batch.masks, draw, fabric.global_rank, fabric.world_size
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


def start_folder(parts: Parts, out: Path, name: str) -> RunFolder | None:
    """A new run folder with the resolved recipe and the provenance, from the first process."""
    recipe = parts.recipe
    if not parts.fabric.is_global_zero:
        return None
    folder = RunFolder.create(out, recipe.path.stem, name, recipe.training.seed)
    folder.recipe.write_text(recipe.to_yaml(), encoding="utf-8")
    stores = {"train": parts.train_store, "val": parts.val_store}
    fingerprints = {split: store.fingerprint for split, store in stores.items()}
    write_json(folder.provenance, provenance(recipe, fingerprints))
    log(f"run folder {folder.path}, on {parts.fabric.device}")
    return folder


def keep_epoch(
    parts: Parts,
    state: State,
    folder: RunFolder,
    board: TensorBoard,
    record: dict[str, Any],
    improved: bool,
) -> None:
    """Record, curves, pictures and checkpoints of an epoch."""
    logging = parts.recipe.logging
    folder.append_metrics(record)
    board.epoch(record)
    if logging.tensorboard:
        rows = spread_rows(len(parts.val_store), logging.images)
        pictures = draw_rows(parts.fabric, parts.segmenter, parts.val_store, rows)
        for row, picture in zip(rows, pictures, strict=True):
            board.picture(f"val/{parts.val_store.ids[row]}", np.asarray(picture), state.epoch)
    if logging.checkpoints:
        about = {
            "epoch": state.epoch,
            "num_classes": parts.num_classes,
            "activation": parts.loss.activation,
            "size": parts.dataset.size,
            "val": record["val"]["levels"],
        }
        training = {
            "epoch": state.epoch,
            "step": state.step,
            "optimizer": parts.optimizer.state_dict(),
            "schedule": parts.schedule.state_dict(),
        }
        model = parts.segmenter.model
        save_checkpoint(folder.checkpoint("last"), model, about, training)
        if improved:
            save_checkpoint(folder.checkpoint("best"), model, about)
    log(
        f"epoch {state.epoch}/{parts.recipe.training.epochs}: loss {record['loss']:.4f}, "
        f"mIoU per level: train {level_scores(record['train'])}, "
        f"val {level_scores(record['val'])}, "
        f"{record['images_per_second']:.0f} images/s{', best so far' if improved else ''}"
    )


def level_scores(scores: dict[str, Any]) -> str:
    """The mIoU of each level, in a few words."""
    return " ".join(
        "-" if level["miou"] is None else f"{level['miou']:.3f}" for level in scores["levels"]
    )


def keep_result(
    parts: Parts, state: State, folder: RunFolder, board: TensorBoard, seconds: float
) -> None:
    """The scores of the best epoch, and what the run cost."""
    assert state.best_counts is not None
    device = parts.fabric.device
    scores = {
        **summarize(state.best_counts, parts.hierarchy),
        **protocol(parts.val_store, parts.recipe.evaluation, "best", state.best_epoch),
    }
    folder.write_scores("val", scores, state.best_counts, parts.val_store.ids)
    on_cuda = device.type == "cuda"
    folder.write_cost(
        {
            "parameters": sum(p.numel() for p in parts.segmenter.model.parameters()),
            "epochs": state.epoch,
            "steps": state.step,
            "seconds": seconds,
            "device": torch.cuda.get_device_name(device) if on_cuda else "cpu",
            "processes": parts.fabric.world_size,
            "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if on_cuda else None,
        }
    )
    board.close(parts.recipe, scores)


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
