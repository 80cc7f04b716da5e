"""Copies of tensors that change, in the memory of the host."""

from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


class Snapshot(Generic[Value]):
    """A copy of tensors as they are now, for which the caller does not wait.

    CUDA copies them after what it was given to compute before, and before what it is given next, so
    that they may be changed at once.

    Args:
        value: tensors, and plain values, in dicts, lists and tuples.
    """

    def __init__(self, value: Value) -> None:
        self._copied: dict[torch.device, torch.cuda.Event] = {}
        self._value: Value = self._copy(value)
        for device, event in self._copied.items():
            event.record(torch.cuda.current_stream(device))

    def get(self) -> Value:
        """The copy: tensors of the CPU. Waits until they are complete; any thread may do so."""
        for event in self._copied.values():
            event.synchronize()
        return self._value

    def _copy(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._copy_tensor(value.detach())
        if isinstance(value, dict):
            return {key: self._copy(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([self._copy(one) for one in value])
        return value

    def _copy_tensor(self, tensor: Tensor) -> Tensor:
        if not tensor.is_cuda:
            return tensor.clone()
        if tensor.device not in self._copied:
            # Blocking: the thread that waits sleeps, and leaves its core to the others.
            self._copied[tensor.device] = torch.cuda.Event(blocking=True)
        pinned = torch.empty_like(tensor, device="cpu", pin_memory=True)
        return pinned.copy_(tensor, non_blocking=True)
