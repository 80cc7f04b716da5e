"""What limits the speed of a recipe, in words."""

from collections.abc import Mapping

from hieraseg.recipe import Recipe
from hieraseg.training.throughput import Throughput

_MUCH_WAITING = 0.1  # share of the training time that is lost to the data
_MUCH_IDLE = 0.2  # share of a step in which a GPU computes nothing
_LARGE_PART = 0.25  # share of a step of what is neither the model nor its backward pass
_CHEAPER = {
    "augmentation": "fewer augmentation.transforms",
    "loss": "a cheaper loss",
    "counts": "fewer classes",
    "optimizer": "another optimizer",
    "averaging": "training.ema: null",
}


def advice(
    recipe: Recipe,
    throughput: Throughput,
    shares: Mapping[str, float],
    idle: float | None,
    not_captured: str | None,
) -> str:
    """Two sentences: what limits a recipe, and what to change.

    Args:
        recipe: the recipe.
        throughput: what was measured.
        shares: share of each part in a step.
        idle: share of a step in which a GPU waits for operations to be launched; None on a CPU.
        not_captured: why the step is no CUDA graph; None if it is one, or on a CPU.
    """
    # At worst, data and step take turns; what is lost beyond that is due to something else.
    at_most = throughput.step / (throughput.step + throughput.data)
    if min(throughput.waiting, at_most) > _MUCH_WAITING:
        return _data(recipe, throughput)
    if idle is not None and idle > _MUCH_IDLE:
        return _launches(recipe, idle, not_captured)
    return _compute(recipe, shares, on_gpu=idle is not None)


def _data(recipe: Recipe, throughput: Throughput) -> str:
    is_decoded = recipe.input.store == "decoded"
    store = "" if is_decoded else "keep decoded images (input.store: decoded), "
    return (
        f"The data limit this recipe: training loses {throughput.waiting:.0%} of its time to them, "
        f"since they are read at {throughput.data:.0f} images/s and the step could take "
        f"{throughput.step:.0f}. To change that, {store}use more CPU cores or a faster disk, or "
        "decrease input.size."
    )


def _launches(recipe: Recipe, idle: float, not_captured: str | None) -> str:
    if recipe.training.capture == "off":
        change = "set training.capture: auto"
    elif not_captured is not None:
        change = f"let the step be captured, which it is not because {not_captured}"
    else:
        change = "increase training.batch_size"
    return (
        f"Python limits this recipe: the GPU waits {idle:.0%} of a step for operations to be "
        f"launched. To change that, {change}."
    )


def _compute(recipe: Recipe, shares: Mapping[str, float], on_gpu: bool) -> str:
    training = recipe.training
    part = max(_CHEAPER, key=lambda name: shares[name])
    model = shares["forward"] + shares["backward"]
    changes = ["a smaller input.size or model"]
    if shares[part] > _LARGE_PART:
        changes = [_CHEAPER[part]]
    if training.compile != "step":
        changes.append(f"training.compile: {'model' if training.compile == 'off' else 'step'}")
    if on_gpu and training.precision == "32-true":
        changes.append("training.precision: bf16-mixed")
    return (
        f"Computing limits this recipe: the model and the backward pass take {model:.0%} of a "
        f"step, the {part} {shares[part]:.0%}. What makes it faster: {', or '.join(changes)}."
    )
