"""What a run writes into its folder: at its start, after each epoch, and at its end."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hieraseg.console import log
from hieraseg.metrics import Counts, summarize
from hieraseg.metrics.scoring import protocol
from hieraseg.runs.checkpoint import save_checkpoint
from hieraseg.runs.figures import draw_rows, spread_rows
from hieraseg.runs.folder import RunFolder, write_json
from hieraseg.runs.provenance import provenance
from hieraseg.training.setup import Parts
from hieraseg.training.state import State
from hieraseg.training.trackers import TensorBoard


def start_folder(parts: Parts, out: Path, name: str) -> RunFolder | None:
    """A new run folder with the resolved recipe and the provenance, from the first process."""
    recipe = parts.recipe
    if not parts.fabric.is_global_zero:
        return None
    folder = RunFolder.create(out, recipe.path.stem, name, recipe.training.seed)
    kept = folder.keep_plugins(recipe.plugins)
    text = recipe.to_yaml(plugins=[file["file"] for file in kept])
    folder.recipe.write_text(text, encoding="utf-8")
    stores = {"train": parts.train_store, "val": parts.val_store}
    fingerprints = {split: store.fingerprint for split, store in stores.items()}
    write_json(folder.provenance, {**provenance(recipe, fingerprints), "plugin_files": kept})
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
            "embedding_channels": parts.loss.embedding_channels,
            "activation": parts.loss.activation,
            "classes": parts.hierarchy.level_names,
            "size": parts.dataset.size,
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


def keep_result(
    parts: Parts,
    state: State,
    folder: RunFolder,
    board: TensorBoard,
    counts: Counts,
    seconds: float,
) -> None:
    """The scores of the best epoch, from its counts, and what the run cost."""
    device = parts.fabric.device
    scores = {
        **summarize(counts, parts.hierarchy),
        **protocol(parts.val_store, parts.recipe.evaluation, "best", state.best_epoch),
    }
    folder.write_scores("val", scores, counts, parts.val_store.ids)
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


def level_scores(scores: dict[str, Any]) -> str:
    """The mIoU of each level, in a few words."""
    return " ".join(
        "-" if level["miou"] is None else f"{level['miou']:.3f}" for level in scores["levels"]
    )
