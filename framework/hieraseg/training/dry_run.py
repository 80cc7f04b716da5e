"""Trying a recipe: everything is built, and takes one step with one batch, on the CPU."""

import inspect
import math
import sys
import time
import traceback
from dataclasses import dataclass, replace

import torch

from hieraseg.data.batches import Batch, load
from hieraseg.errors import HierasegError, RecipeError
from hieraseg.metrics import PixelCounts
from hieraseg.metrics.scoring import answer
from hieraseg.recipe import Recipe
from hieraseg.recipe.spec import ComponentSpec, components_in
from hieraseg.train import train_step
from hieraseg.training.setup import Parts, assemble
from hieraseg.training.state import State

_LONGEST = 300


@dataclass(frozen=True)
class DryRun:
    """What one step cost.

    Attributes:
        loss: of the first batch.
        parameters: of the model.
        images: in the batch.
        seconds: that the step took.
        peak_memory_bytes: of the process; None where the system does not tell.
    """

    loss: float
    parameters: int
    images: int
    seconds: float
    peak_memory_bytes: int | None


def dry_run(recipe: Recipe) -> DryRun:
    """Build what a recipe names, and take one training step in float32 on the CPU.

    Only the images of one batch are decoded, of each split.

    Raises:
        RecipeError: a component fails, or what it gives does not fit the others.
        DataError: the data cannot be used.
    """
    standalone = replace(
        recipe.training, device="cpu", devices=1, num_nodes=1, precision="32-true", max_steps=1
    )
    recipe = replace(recipe, training=standalone)
    try:
        return _try_step(recipe)
    except HierasegError:
        raise
    except MemoryError as error:
        raise RecipeError(_too_large(recipe)) from error
    except (Exception, SystemExit) as error:  # components are anybody's code, and may do anything
        if "can't allocate memory" in str(error):
            raise RecipeError(_too_large(recipe)) from error
        raise RecipeError(_blame(recipe, error)) from error


def _try_step(recipe: Recipe) -> DryRun:
    parts = assemble(recipe, images=recipe.training.batch_size)
    rows = torch.arange(len(parts.train_store))
    batch = next(load(parts.train_store, [rows], False))
    _check_logits(parts, batch)
    parts.model.train()
    counts = PixelCounts(parts.hierarchy, 1, parts.fabric.device)
    started = time.monotonic()
    terms = train_step(parts, State(epoch=1), batch, counts)
    seconds = time.monotonic() - started
    loss = sum(float(term.detach()) for term in terms.values())
    if not math.isfinite(loss):
        raise RecipeError(f"loss: {recipe['loss'].name} is {loss} on the first batch")
    parameters = sum(one.numel() for one in parts.segmenter.model.parameters())
    return DryRun(loss, parameters, len(rows), seconds, _peak_memory())


def _check_logits(parts: Parts, batch: Batch) -> None:
    """Raise RecipeError where the model's logits are not those of the levels' classes."""
    parts.segmenter.model.eval()
    (prediction, *_) = answer(parts.fabric, parts.segmenter, batch.images[:1])
    channels = [level.shape[1] for level in prediction.logits]
    if channels != parts.num_classes:
        raise RecipeError(
            f"decoder: {parts.recipe['decoder'].name} answers logits of {channels} classes per "
            f"level, but the hierarchy and the loss need {parts.num_classes}"
        )


def _too_large(recipe: Recipe) -> str:
    return (
        f"training: a step with {recipe.training.batch_size} images needs more memory than this "
        "machine has; lower training.batch_size or data.size"
    )


def _blame(recipe: Recipe, error: BaseException) -> str:
    """One sentence on a failure, with the component in whose code it happened."""
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST]
    files = {_source_of(one): one for one in components_in(list(recipe.components.values()))}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files:
            guilty = files[frame.filename]
            place = f"{frame.filename}:{frame.lineno}"
            return f"{guilty.section}: {guilty.name} fails in its first step ({place}): {what}"
    return f"the first training step fails: {what}"


def _source_of(component: ComponentSpec) -> str:
    try:
        return inspect.getsourcefile(component.factory) or ""
    except TypeError:  # made by `functools.partial`, say
        return ""


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
