"""The loss of the validation split."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int
from torch import Tensor

from hieraseg.console import progress
from hieraseg.contracts import Prediction, has_argument
from hieraseg.data.batches.stacks import Stack, read_stacks
from hieraseg.data.stores.store import Store
from hieraseg.errors import DivergedError
from hieraseg.hierarchy import IGNORE_INDEX
from hieraseg.inference.padding import padded_size
from hieraseg.processes import on_its_own, own_share, sum_over_ranks
from hieraseg.settings import Evaluation
from hieraseg.training.setup import Parts
from hieraseg.training.state import State


def validation_loss(
    parts: Parts, state: State, store: Store, stop: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """The loss of a split: the mean over its images, weighted by their labelled pixels.

    The loss of each image is computed alone, without augmentation, test-time augmentation or an
    auxiliary head, and with the progress that the last step had. Pixels that are added to an image
    because of the model's stride are void. So the result depends neither on
    `evaluation.batch_size` nor on the number of processes, but for rounding. All processes call it.

    Args:
        parts: the parts of the run.
        state: its state. The model is put into evaluation mode.
        store: the images of the split.
        stop: whether to stop between two batches, with a loss of fewer images.

    Returns:
        `loss`, the sum of the terms, and `terms`; they are None if no pixel has a label.

    Raises:
        DivergedError: the loss is not finite.
    """
    fabric, device = parts.fabric, parts.fabric.device
    own = own_share(torch.arange(len(store)), fabric.global_rank, fabric.world_size).tolist()
    # Where there are fewer images than processes, one is computed to know the terms.
    steps = _batches(parts, store, own or [0])
    done = torch.tensor((max(state.step, 1) - 1) / parts.total_steps, device=device)
    weights = torch.zeros(len(store), dtype=torch.float64, device=device)
    terms: dict[str, Float64[Tensor, " N"]] = {}
    ahead = parts.recipe.evaluation.batch_size
    parts.segmenter.model.eval()
    reading = read_stacks(store, store, [[step] for step in steps], ahead, device)
    for (stack,) in progress(reading, "loss", len(steps)):
        for row, target, own_terms in _images(parts, stack, done):
            weights[row] = (target != IGNORE_INDEX).any(1).sum() if own else 0
            for name, value in own_terms.items():
                terms.setdefault(name, torch.zeros_like(weights))[row] = value if own else 0
        if stop():
            break
    return _mean(sum_over_ranks({"": weights, **terms}), state)


def _batches(parts: Parts, store: Store, rows: list[int]) -> list[list[int]]:
    """Rows of images of the same size."""
    count = parts.recipe.evaluation.batch_size

    def shape(row: int) -> tuple[int, ...]:
        return tuple(store.shapes[row].tolist())

    alike = [list(group) for _, group in groupby(sorted(rows, key=shape), shape)]
    return [group[at : at + count] for group in alike for at in range(0, len(group), count)]


@torch.no_grad()
def _images(
    parts: Parts, stack: Stack, done: Float[Tensor, ""]
) -> list[tuple[int, Int[Tensor, "1 levels H W"], dict[str, Float[Tensor, ""]]]]:
    """Row, target and terms of each image."""
    loss, device = parts.loss, done.device
    padded = replace(parts.segmenter, settings=Evaluation()).padded_model()
    pixels = stack.images.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
    masks = stack.masks.to(device, non_blocking=True)
    height, width = padded_size(pixels.shape[-2:], padded.stride)
    missing = (0, width - pixels.shape[-1], 0, height - pixels.shape[-2])
    targets = parts.hierarchy.encode(masks, check=False)  # checked when they were stored
    targets = F.pad(targets, missing, value=IGNORE_INDEX)
    canvas = padded.color.to(pixels).repeat(len(pixels), 1, height, width)
    canvas[:, :, : pixels.shape[-2], : pixels.shape[-1]] = pixels
    with parts.fabric.autocast():
        prediction = padded.model(canvas)
    arguments = {"progress": done} if has_argument(loss.forward, "progress") else {}
    with torch.autocast(device.type, enabled=False), on_its_own():
        return [
            (row, target, loss(_one(prediction, index), target, **arguments))
            for index, (row, target) in enumerate(
                zip(stack.rows.tolist(), targets.split(1), strict=True)
            )
        ]


def _one(prediction: Prediction, index: int) -> Prediction:
    """The prediction of one image."""
    logits, embedding = prediction.logits, prediction.embedding
    return Prediction(
        tuple(level[index : index + 1] for level in logits),
        None if embedding is None else embedding[index : index + 1],
    )


def _mean(totals: dict[str, Float64[Tensor, " N"]], state: State) -> dict[str, Any]:
    """The weighted mean of each term over the images."""
    weights = totals.pop("")
    weight = weights.sum()
    if not weight:
        return {"loss": None, "terms": dict.fromkeys(totals)}
    # Without labels, the loss of an image may be 0 / 0.
    weighted = [torch.where(weights > 0, weights * one, 0).sum() for one in totals.values()]
    values = torch.stack(weighted) / weight
    terms = dict(zip(totals, values.tolist(), strict=True))
    loss = sum(terms.values())
    if not math.isfinite(loss):
        raise DivergedError(
            f"training diverged in epoch {state.epoch}, by step {state.step}: the loss of val is "
            "not finite; lower optimizer.lr, or train in precision 32-true"
        )
    return {"loss": loss, "terms": terms}
