"""How a run takes its steps: from Python, or captured in a CUDA graph that is replayed."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hieraseg.console import log, warn
from hieraseg.data.batches.batch import AnyBatch, map_tensors
from hieraseg.errors import HierasegError
from hieraseg.processes import on_all_ranks
from hieraseg.training.allocator import keep_freed_memory
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
_CHANGES = "the optimizer or the schedule changes more than the learning rates"


def open_step(parts: Parts, state: State) -> TakeStep:
    """How this run takes its steps. A log line says what keeps CUDA from capturing them."""
    if parts.fabric.device.type == "cpu":
        keep_freed_memory()
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

    Attributes:
        graph: the captured step; None before the capture, or if there is none.
        problem: why steps are taken from Python; None before the capture, or if they are not.
    """

    def __init__(self, parts: Parts, state: State) -> None:
        self.parts, self.state = parts, state
        self.stream = torch.cuda.Stream(parts.fabric.device)
        self.waiting = _WARM_UP if parts.fabric.world_size == 1 else _WARM_UP_OF_SEVERAL
        self.graph: torch.cuda.CUDAGraph | None = None
        self.problem: str | None = None
        self.inputs: StepInputs | None = None
        _make_capturable(state.optimizer)
        state.finite.reads_values = False
        self.settings = _settings(state.optimizer)

    def __call__(self, batch: AnyBatch) -> None:
        inputs = step_inputs(self.parts, self.state, batch)
        if self.graph is not None and _settings(self.state.optimizer) != self.settings:
            log(f"the training step is no longer replayed as a CUDA graph: {_CHANGES}")
            self.graph, self.problem = None, _CHANGES
        elif self.graph is None and self.waiting == 0:
            self._capture(inputs)
        if self.graph is None:
            self._from_python(inputs)
        else:
            self._replay(inputs)
        finish_step(self.state)

    def _from_python(self, inputs: StepInputs) -> None:
        # On the stream of the capture, since what autograd keeps belongs to a stream.
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            compute_step(self.parts, self.state, inputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        self.waiting -= 1  # below zero, no capture is tried again

    def _capture(self, inputs: StepInputs) -> None:
        """Let all processes replay a graph, or none, since one alone would wait for the others."""
        if keeps_state_on_host(self.state.optimizer):
            self.problem = "the optimizer counts steps on the host"
        elif _settings(self.state.optimizer) != self.settings:
            self.problem = _CHANGES
        if self.problem is not None:
            log(f"the training step is not captured in a CUDA graph: {self.problem}")
            return
        try:
            on_all_ranks(partial(self._record, inputs))
        except HierasegError as error:
            self.graph, self.problem = None, f"capturing it failed ({error})"
            warn(
                f"the training step cannot be captured in a CUDA graph ({error}); it is launched "
                "from Python, which is slower (training.capture: off hides this warning)"
            )

    def _record(self, inputs: StepInputs) -> None:
        """Record the operations of a step, without executing them.

        Raises:
            HierasegError: it cannot be captured.
        """
        static, graph = _map(torch.clone, inputs), torch.cuda.CUDAGraph()
        try:
            # Other threads go on to use CUDA: they copy the next batches. The outer context is for
            # captures that fail, after which torch would leave the stream as it is.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
            ):
                compute_step(self.parts, self.state, static)
        except (RuntimeError, HierasegError) as error:
            _reset_generator(self.parts.fabric.device)
            # The end of a capture fails, too, and only says that something has failed before.
            first = error.__context__ or error
            reason = next(iter(str(first).splitlines()), type(first).__name__)
            raise HierasegError(reason) from error
        self.inputs, self.graph = static, graph

    def _replay(self, inputs: StepInputs) -> None:
        assert self.graph is not None
        assert self.inputs is not None
        for static, new in zip(_tensors(self.inputs), _tensors(inputs), strict=True):
            static.copy_(new, non_blocking=True)
        self.graph.replay()


def keeps_state_on_host(optimizer: Optimizer) -> bool:
    """Whether an optimizer has state that the replay of a graph would not change."""
    values = [value for one in optimizer.state.values() for value in one.values()]
    # Numbers in groups are compared from step to step (see `_settings`).
    groups = (value for group in optimizer.param_groups for value in group.values())
    values += [value for value in groups if isinstance(value, Tensor)]
    return any(
        value.device.type == "cpu" if isinstance(value, Tensor) else isinstance(value, int | float)
        for value in values
    )


def _make_capturable(optimizer: Optimizer) -> None:
    """Let optimizers of torch count their steps on the device."""
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
    # Of the steps before the capture.
    warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")


def _settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Numbers of an optimizer that would be constants in a graph, unlike its learning rates."""
    return [
        {
            key: value
            for key, value in group.items()
            if key not in ("params", "lr") and not isinstance(value, Tensor)
        }
        for group in optimizer.param_groups
    ]


def _reset_generator(device: torch.device) -> None:
    """Let random numbers be drawn after a failed capture, which the generator takes to go on."""
    generator = torch.cuda.default_generators[device.index]
    generator.graphsafe_set_state(generator.clone_state())


def _map(function: Callable[[Tensor], Tensor], inputs: StepInputs) -> StepInputs:
    batch, *numbers = inputs
    return StepInputs(map_tensors(function, batch), *map(function, numbers))


def _tensors(inputs: StepInputs) -> list[Tensor]:
    batch, *numbers = inputs
    return [*batch, *numbers]
