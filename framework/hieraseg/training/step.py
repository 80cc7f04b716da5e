"""One training step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from hieraseg.data.batches.batch import AnyBatch
from hieraseg.training.compiling import compile_errors
from hieraseg.training.finite import gradient_norm, unless_bad
from hieraseg.training.gradients import clip_gradients, compute_gradients
from hieraseg.training.setup import Parts
from hieraseg.training.state import State


class StepInputs(NamedTuple):
    """All that differs from one step to the next, on the training device.

    Attributes:
        batch: the images of this process.
        progress: share of training that is done, float32.
        rates: learning rate of each parameter group, float32.
        averaging: see `WeightAverage.update`, float32; of no effect without `training.ema`.
    """

    batch: AnyBatch
    progress: Float[Tensor, ""]
    rates: Float[Tensor, " groups"]
    averaging: Float[Tensor, ""]


def step_inputs(parts: Parts, state: State, batch: AnyBatch) -> StepInputs:
    """The inputs of the next step.

    Args:
        parts: the parts of the run.
        state: its state before the step.
        batch: images of this process, on the device.
    """
    rates = [float(group["lr"]) for group in state.optimizer.param_groups]
    averaging = 0.0 if state.average is None else state.average.rate(state.step)
    numbers = torch.tensor([state.step / parts.total_steps, averaging, *rates])
    if parts.fabric.device.type == "cuda":
        numbers = numbers.pin_memory()
    numbers = numbers.to(parts.fabric.device, non_blocking=True)
    return StepInputs(batch, numbers[0], numbers[2:], numbers[1])


def compute_step(parts: Parts, state: State, inputs: StepInputs) -> dict[str, Float[Tensor, ""]]:
    """Update the weights and totals by one step, as a function of tensors on the device alone.

    One that is not finite changes neither (see `FiniteSteps`).

    Returns:
        The terms of the loss.

    Raises:
        RecipeError: see `compute_gradients`; or the step cannot be compiled.
    """
    optimizer, finite = state.optimizer, state.finite
    buffers = finite.buffers()
    with compile_errors(parts.compiled):
        terms, counts = compute_gradients(parts, optimizer, inputs.batch, inputs.progress)
    norm = clip_gradients(parts, optimizer)
    ok = finite.check(terms, gradient_norm(optimizer) if norm is None else norm)
    finite.restore(buffers, ok)
    with (
        _tensor_rates(optimizer, inputs.rates.unbind()),
        unless_bad(optimizer, ok, finite),
    ):
        optimizer.step()
    if state.average is not None:
        state.average.update(inputs.averaging * ok)
    state.totals.add(terms, counts, ok)
    if norm is not None:
        state.totals.add_norm(norm)
    return terms


def finish_step(state: State) -> None:
    """Count a step, and set the learning rates of the next one."""
    state.schedule.step()
    state.step += 1
    state.totals.steps += 1


def train_step(parts: Parts, state: State, batch: AnyBatch) -> dict[str, Float[Tensor, ""]]:
    """Take one optimizer step, launching each operation from Python.

    Args:
        parts: the parts of the run.
        state: its state; the step is added to its totals.
        batch: images of this process, on the device.

    Returns:
        The terms of the loss.
    """
    terms = compute_step(parts, state, step_inputs(parts, state, batch))
    finish_step(state)
    return terms


@contextmanager
def _tensor_rates(optimizer: Optimizer, rates: Sequence[Float[Tensor, ""]]) -> Iterator[None]:
    """Inside this context, learning rates are tensors; the schedule goes on with its numbers."""
    numbers = [group["lr"] for group in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        # Adam refuses tensors with `foreach`, unless it shall be captured.
        if group.get("capturable", True) or not group.get("foreach"):
            group["lr"] = rate
    try:
        yield
    finally:
        for group, number in zip(optimizer.param_groups, numbers, strict=True):
            group["lr"] = number
