"""Time that work on a device takes, and each part of a training step."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch

from hieraseg.training.setup import Parts
from hieraseg.training.state import State

PARTS = ("augmentation", "forward", "loss", "counts", "backward", "optimizer", "averaging")
"""The parts of a step, in order; targets belong to the augmentation, and clipping to the backward
pass. Without `training.ema`, averaging takes no time."""


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Duration of some work, until the device has finished it."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def part_seconds(
    parts: Parts, state: State, step: Callable[[], object], steps: int
) -> dict[str, float]:
    """Median seconds of each part of a step; on CUDA, those that the device computes.

    Args:
        parts: the parts of the run.
        state: its state.
        step: takes a step, not captured and not compiled.
        steps: number of steps.
    """
    marks = _Marks(parts.fabric.device)
    with _marking(parts, state, marks):
        return _median_seconds(step, steps, marks)


def device_seconds(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Median seconds of a whole step, which may be compiled; see `part_seconds`."""
    return sum(_median_seconds(step, steps, _Marks(device)).values())


def _median_seconds(step: Callable[[], object], steps: int, marks: "_Marks") -> dict[str, float]:
    """Median seconds between the marks.

    A CUDA device is kept busy while the operations of a step are launched, so that it does not
    wait for them between two marks.
    """
    step()
    keep_busy = _KeepBusy(marks.device, seconds(step, marks.device))
    durations: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(steps):
        keep_busy()
        marks.start()
        step()
        marks.mark("counts")  # they are added to the totals of the epoch
        for part, duration in marks.stop().items():
            durations[part].append(duration)
    return {part: statistics.median(values) for part, values in durations.items()}


class _KeepBusy:
    """Gives a CUDA device work for some time, without waiting for it; nothing on a CPU.

    Args:
        device: the device.
        duration: seconds.
    """

    def __init__(self, device: torch.device, duration: float) -> None:
        self.products = 0
        if device.type == "cuda":
            self.matrix = torch.zeros(4096, 4096, device=device)
            self.result = torch.empty_like(self.matrix)
            self.products = 1
            for _ in range(2):
                self()
            self.products = math.ceil(duration / seconds(self, device))

    def __call__(self) -> None:
        for _ in range(self.products):
            torch.mm(self.matrix, self.matrix, out=self.result)


@contextmanager
def _marking(parts: Parts, state: State, marks: "_Marks") -> Iterator[None]:
    """Inside this context, a step makes a mark at the end of each part."""
    model, average, mark = state.model, state.average, marks.mark
    updated = "optimizer" if average is None else "averaging"

    def before_forward(*_: object) -> None:
        # With `training.accumulate`, the backward pass of the images before comes first.
        mark("backward" if "counts" in marks.names else "augmentation")

    hooks = [
        model.register_forward_pre_hook(before_forward),
        model.register_forward_hook(lambda *_: mark("forward")),
        parts.loss.register_forward_hook(lambda *_: mark("loss")),
        parts.forward.register_forward_hook(lambda *_: mark("counts")),
    ]
    with ExitStack() as stack:
        for hook in hooks:
            stack.callback(hook.remove)
        # Not hooks of the optimizer, since what undoes a step that is not finite belongs to it.
        stack.enter_context(_marking_call(state.finite, "restore", marks, "backward", "backward"))
        if average is not None:
            stack.enter_context(_marking_call(average, "update", marks, "optimizer", "averaging"))
        stack.enter_context(_marking_call(state.totals, "add", marks, updated, "counts"))
        yield


@contextmanager
def _marking_call(
    owner: object, method: str, marks: "_Marks", before: str, after: str
) -> Iterator[None]:
    """Inside this context, parts end before and after each call of a method."""
    call = getattr(owner, method)

    @wraps(call)
    def marked(*arguments: Any) -> Any:
        marks.mark(before)
        result = call(*arguments)
        marks.mark(after)
        return result

    setattr(owner, method, marked)
    try:
        yield
    finally:
        setattr(owner, method, call)


class _Marks:
    """Durations between marks: on a CUDA device, those of its own work.

    Args:
        device: the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_cuda = device.type == "cuda"
        self.start()

    def start(self) -> None:
        """Begin with the first part."""
        self.names: list[str] = []
        self.times = [self._now()]

    def mark(self, part: str) -> None:
        """End a part."""
        self.names.append(part)
        self.times.append(self._now())

    def stop(self) -> dict[str, float]:
        """Seconds of each part, which may have several pieces."""
        if self.is_cuda:
            torch.cuda.synchronize()
        found = dict.fromkeys(PARTS, 0.0)
        for name, before, after in zip(self.names, self.times, self.times[1:], strict=False):
            found[name] += self._between(before, after)
        return found

    def _now(self) -> "float | torch.cuda.Event":
        if not self.is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, before: "float | torch.cuda.Event", after: Any) -> float:
        if isinstance(before, float):
            return float(after - before)
        return before.elapsed_time(after) / 1000
