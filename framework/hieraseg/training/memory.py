"""What to change in a recipe that needs more memory than there is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from hieraseg.errors import RecipeError, exhausted_memory
from hieraseg.recipe import Recipe

_STRIDE = 32  # of most backbones


@contextmanager
def explaining_memory(recipe: Recipe, scores: bool = False) -> Iterator[None]:
    """Say what to change in a recipe if the memory is full.

    Args:
        recipe: the recipe.
        scores: whether images are scored, and not trained on.

    Raises:
        RecipeError: the memory of the GPU, or the main memory, is full.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        memory = exhausted_memory(error)
        if memory is None:
            raise
        say = _scoring if scores else _training
        raise RecipeError(say(recipe, memory)) from error


def _training(recipe: Recipe, memory: str) -> str:
    training = recipe.training
    processes = training.devices * training.num_nodes
    images = training.batch_size // processes
    at_once = images // training.accumulate
    size = [_smaller(side) for side in recipe.input.size]
    ways = [f"input.size to {size}"]
    if training.batch_size > processes:
        ways.insert(0, f"training.batch_size to {max(images // 2, 1) * processes}")
    changes = f"decrease {' or '.join(ways)}"
    if memory == "GPU" and training.precision == "32-true":
        changes = f"set training.precision to bf16-mixed, or {changes}"
    if at_once > 1:
        parts = next(n for n in range(training.accumulate + 1, images + 1) if images % n == 0)
        changes = f"set training.accumulate to {parts}, which trains nearly the same, or {changes}"
    on_gpu = "with fewer images says about how many fit"
    measures = on_gpu if memory == "GPU" else "measures how much a step needs"
    height, width = recipe.input.size
    return (
        f"training: {at_once} images of {height}x{width} at once need more {memory} memory than "
        f"there is; {changes}; `hieraseg bench` {measures}"
    )


def _scoring(recipe: Recipe, memory: str) -> str:
    evaluation, number = recipe.evaluation, recipe.evaluation.batch_size
    if evaluation.window is not None:
        size = [_smaller(side) for side in evaluation.window]
        what, ways = "a window", [f"decrease evaluation.window to {size}"]
    elif number > 1:
        what, ways = f"{number} images", [f"decrease evaluation.batch_size to {number // 2}"]
    else:
        what, ways = "an image", [f"set evaluation.window to {list(recipe.input.size)}"]
    if max(evaluation.scales) > 1:
        ways.append("leave out scales above 1 in evaluation.scales")
    if evaluation.resolution == "native":
        ways.append("set evaluation.resolution to input, with which scores are others")
    return (
        f"evaluation: scoring {what} at once needs more {memory} memory than there is; "
        f"{', or '.join(ways)}"
    )


def _smaller(side: int) -> int:
    """Side of an image with half the area, as backbones divide it."""
    smaller = side / math.sqrt(2)
    return max(round(smaller / _STRIDE) * _STRIDE, 1) if side > _STRIDE else max(side // 2, 1)
