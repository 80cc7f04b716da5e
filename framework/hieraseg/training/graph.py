"""How a run takes its steps: from Python, or captured in a CUDA graph that is replayed."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from hieraseg.console import log, warn
from hieraseg.data.batches.batch import AnyBatch, map_tensors
from hieraseg.training.setup import Parts
from hieraseg.training.state import State
from hieraseg.training.step import (
    StepInputs,
    compute_step,
    finish_step,
    step_inputs,
    train_step,
)

TakeStep = Callable[[AnyBatch], object]
"""Takes a step with a batch of this process, which is on the device."""

# Steps before the capture: they create the state of the optimizer and choose algorithms, and with
# several processes they group the gradients (https://docs.pytorch.org/docs/stable/notes/cuda.html).
_WARM_UP = 3
_WARM_UP_OF_SEVERAL = 11


def open_step(parts: Parts, state: State) -> TakeStep:
    """How this run takes its steps. A log line says what keeps CUDA from capturing them."""
    if parts.fabric.device.type != "cuda" or parts.recipe.training.capture == "off":
        return partial(train_step, parts, state)
    problem = next(iter(parts.capture_problems), None)
    if problem is not None:
        log(f"the training step is not captured in a CUDA graph: {problem}")
        return partial(train_step, parts, state)
    return CapturedStep(parts, state)


class CapturedStep:
    """Launches all operations of a step at once: the first few steps from Python, then as a graph.

    A graph reads its inputs from the same memory each time, so they are copied there. Where a step
    cannot be captured, a warning says why, and all of them are taken from Python.

    Args:
        parts: the parts of the run, on CUDA.
        state: its state.
    """

    def __init__(self, parts: Parts, state: State) -> None:
        self.parts, self.state = parts, state
        self.stream = torch.cuda.Stream(parts.fabric.device)
        self.waiting = _WARM_UP if parts.fabric.world_size == 1 else _WARM_UP_OF_SEVERAL
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: StepInputs | None = None

    def __call__(self, batch: AnyBatch) -> None:
        inputs = step_inputs(self.parts, self.state, batch)
        if self.graph is None and self.waiting == 0:
            self._capture(inputs)
        if self.graph is None:
            self._from_python(inputs)
        else:
            self._replay(self.graph, inputs)
        finish_step(self.state)

    def _from_python(self, inputs: StepInputs) -> None:
        # On the stream of the capture, since what autograd keeps belongs to a stream.
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            compute_step(self.parts, self.state, inputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        self.waiting -= 1  # below zero, no capture is tried again

    def _capture(self, inputs: StepInputs) -> None:
        """Record the operations of a step, without executing them."""
        if keeps_state_on_host(self.state.optimizer):
            log(
                "the training step is not captured in a CUDA graph: the optimizer counts steps on "
                "the host"
            )
            return
        static, graph = _map(torch.clone, inputs), torch.cuda.CUDAGraph()
        try:
            # Other threads go on to use CUDA: they copy the next batches.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                compute_step(self.parts, self.state, static)
        except RuntimeError as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            warn(
                f"the training step cannot be captured in a CUDA graph ({reason}); it is launched "
                "from Python, which is slower (training.capture: off hides this warning)"
            )
            return
        self.inputs, self.graph = static, graph

    def _replay(self, graph: torch.cuda.CUDAGraph, inputs: StepInputs) -> None:
        assert self.inputs is not None
        for static, new in zip(_tensors(self.inputs), _tensors(inputs), strict=True):
            static.copy_(new, non_blocking=True)
        graph.replay()


def keeps_state_on_host(optimizer: Optimizer) -> bool:
    """Whether an optimizer has state that the replay of a graph would not change."""
    values = [value for one in optimizer.state.values() for value in one.values()]
    return any(
        value.device.type == "cpu" if isinstance(value, Tensor) else isinstance(value, int | float)
        for value in values
    )


def _map(function: Callable[[Tensor], Tensor], inputs: StepInputs) -> StepInputs:
    batch, progress, rates = inputs
    return StepInputs(map_tensors(function, batch), function(progress), function(rates))


def _tensors(inputs: StepInputs) -> list[Tensor]:
    return [*inputs.batch, inputs.progress, inputs.rates]
