"""Dry run of a recipe: everything is built, and takes one step on the CPU."""

import math
import time
from dataclasses import dataclass, replace

import torch

from hieraseg.data.batches.device import on_device
from hieraseg.errors import HierasegError, RecipeError
from hieraseg.recipe import Recipe
from hieraseg.tracebacks import describe, frames, source_file
from hieraseg.training.cost import peak_memory
from hieraseg.training.determinism import deterministic_algorithms
from hieraseg.training.memory import explaining_memory
from hieraseg.training.order import run_step
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.step import train_step
from hieraseg.training.validation_loss import validation_loss

_LONGEST = 300


@dataclass(frozen=True)
class DryRun:
    """Cost of one step.

    Attributes:
        loss: loss of the first batch.
        parameters: number of parameters of the model.
        images: number of images in the batch.
        seconds: duration of the step.
        peak_memory_bytes: peak memory of the process; None if the system does not report it.
    """

    loss: float
    parameters: int
    images: int
    seconds: float
    peak_memory_bytes: int | None


def dry_run(recipe: Recipe) -> DryRun:
    """Build everything that a recipe names, and take one training step in float32 on the CPU.

    Only the images of one batch of each split are decoded.

    Raises:
        RecipeError: a component fails, or its output does not fit the other components.
        DataError: the data cannot be used.
    """
    training = replace(
        recipe.training,
        device="cpu",
        devices=1,
        num_nodes=1,
        precision="32-true",
        compile="off",
        sync_batch_norm=False,
    )
    recipe = replace(recipe, training=training)
    try:
        with (
            explaining_memory(recipe),
            deterministic_algorithms(recipe.training.deterministic),
        ):
            return _dry_run(recipe)
    except HierasegError:
        raise
    except (Exception, SystemExit) as error:  # components can raise anything
        raise RecipeError(_blame(recipe, error)) from error


def _dry_run(recipe: Recipe) -> DryRun:
    parts, state = set_up(recipe, images=recipe.training.batch_size)
    rows = torch.arange(len(parts.stores["train"]))[: recipe.training.batch_size]
    steps = [run_step(parts, 1, 1, rows)]
    (batch,) = on_device(parts.view.load(steps), parts.fabric.device)
    _check_logits(parts)
    parts.forward.train()
    started = time.monotonic()
    terms = train_step(parts, state, batch)
    seconds = time.monotonic() - started
    loss = sum(float(term.detach()) for term in terms.values())
    if not math.isfinite(loss):
        raise RecipeError(f"loss: {recipe['loss'].name} is {loss} on the first batch")
    if parts.for_loss is not None:
        validation_loss(parts, state, parts.for_loss)
    parameters = sum(one.numel() for one in state.model.parameters())
    return DryRun(loss, parameters, len(rows), seconds, peak_memory(torch.device("cpu")))


def _check_logits(parts: Parts) -> None:
    """Raise RecipeError if the logits do not have the number of classes of each level."""
    model = parts.segmenter.model.eval()
    with torch.inference_mode():
        prediction = model(torch.zeros(1, 3, *parts.recipe.input.size))
    channels = [level.shape[1] for level in prediction.logits]
    if channels != parts.num_classes:
        components = parts.recipe.components
        spec = components.get("model") or components["decoder"]
        raise RecipeError(
            f"{spec.section}: {spec.name} returns logits with {channels} channels per level, but "
            f"the hierarchy and the loss need {parts.num_classes}"
        )


def _blame(recipe: Recipe, error: BaseException) -> str:
    """A sentence on an error, with the component whose code raised it."""
    owners = {source_file(spec.factory): spec for spec in recipe.specs()}
    for path, line in frames(error):
        owner = owners.get(path)
        if owner is not None:
            place = f"{path}:{line}"
            what = describe(error, _LONGEST)
            return f"{owner.section}: {owner.name} fails in its first step ({place}): {what}"
    return f"the first training step fails: {describe(error, _LONGEST)}"
