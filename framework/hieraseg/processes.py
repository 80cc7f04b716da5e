"""Communication among the processes of a run. No other module knows of `torch.distributed`.

In a single process each function does what it says without communication.
"""

import atexit
import gc
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from hieraseg import launch
from hieraseg.errors import DivergedError, HierasegError, interrupt_code

Result = TypeVar("Result")


class _Current(threading.local):
    is_on_its_own: bool = False


_CURRENT = _Current()


@contextmanager
def on_its_own() -> Iterator[None]:
    """Inside this context a process works as if it were the only one, so nothing communicates."""
    _CURRENT.is_on_its_own = True
    try:
        yield
    finally:
        _CURRENT.is_on_its_own = False


def part_at_exit() -> None:
    """Let this process leave the others when Python exits. To be called before it joins them.

    A thread of gloo lets go of its last tensors after a run, and aborts if Python is gone by then.
    It ends with the last reference to its group.
    """
    if torch.distributed.is_initialized():  # by an earlier run, or by the program itself
        return
    import_module("torch.distributed.nn")  # later, its functions would refer to the group
    atexit.register(_part)


def _part() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    _hosts.cache_clear()
    gc.collect()  # a model that was wrapped for several processes is part of cycles


def num_processes() -> int:
    """Number of processes that train together."""
    if _CURRENT.is_on_its_own:
        return 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def on_all_ranks(work: Callable[[], Result]) -> Result:
    """Run a function in every process; an error of one is raised in all of them.

    Otherwise the others would wait for it forever.

    Raises:
        HierasegError: what `work` raised in any process.
    """
    result, error, message = None, None, None
    try:
        result = work()
    except (HierasegError, OSError) as caught:
        error = caught
        message = (str(error), getattr(error, "exit_code", HierasegError.exit_code))
    messages = [message] * num_processes()
    if num_processes() > 1:
        torch.distributed.all_gather_object(messages, message)
    if error is not None:
        raise error
    for found in messages:
        if found is not None:
            raise _copy(*found)
    return cast(Result, result)


def _copy(message: str, exit_code: int) -> HierasegError:
    """An error of another process."""
    error = HierasegError(message)
    error.exit_code = exit_code
    return error


@contextmanager
def failing_together() -> Iterator[None]:
    """Inside this context, an error of one process ends all of them; only that process reports it.

    `DivergedError` passes: all processes raise it at the same time, and a command may go on to
    its next run.

    Raises:
        HierasegError: another process has ended.
    """
    try:
        yield
    except DivergedError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not launch.is_main_process():
            # The first process, also interrupted, says what is kept.
            os._exit(interrupt_code(error))
        lost = num_processes() > 1 and _is_lost_connection(error)
        known = isinstance(error, HierasegError | OSError | KeyboardInterrupt | SystemExit)
        launch.fail(explained=known)
        if lost:
            has = "not answered in time" if "imed out" in str(error) else "ended"
            raise HierasegError(
                f"another process of this run has {has}; see what it says"
            ) from error
        raise


def _is_lost_connection(error: BaseException) -> bool:
    """Whether an error is only the consequence of the end of another process."""
    words = ("gloo", "NCCL", "closed by peer", "reset by peer", "caused pair closure")
    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the first process, whose weights are the ones saved."""
    if num_processes() > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor.detach(), 0)


def is_first() -> bool:
    """Whether this process is the first one of those that train together."""
    return num_processes() == 1 or torch.distributed.get_rank() == 0


def from_first(flag: bool) -> bool:
    """What the first process says. Does not wait for the device."""
    return bool(largest_of_all(flag and is_first()))


def largest_of_all(number: int) -> int:
    """The largest of the numbers of all processes. Does not wait for the device."""
    if num_processes() == 1:
        return number
    tensor = torch.tensor(int(number))
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX, group=_hosts())
    return int(tensor)


@cache
def _hosts() -> Any:
    """All processes, which exchange what is in the memory of their hosts."""
    return torch.distributed.new_group(backend="gloo")


def sum_over_ranks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each summed over all processes. No gradient flows back."""
    return {key: _sum(tensor) for key, tensor in tensors.items()}


def mean_over_ranks(tensor: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The mean of a tensor over all processes. No gradient flows back."""
    return _sum(tensor) / num_processes()


def _sum(tensor: Tensor) -> Tensor:
    if num_processes() == 1:
        return tensor
    total = tensor.detach().clone()
    torch.distributed.all_reduce(total)
    return total


def gather(tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "P ..."]:
    """The tensors of all P processes, which have the same shape, stacked.

    Gradients flow back for a loss that all processes compute alike from the result, and whose
    gradients are averaged over the processes.
    """
    if num_processes() == 1:
        return tensor[None]
    return cast(Tensor, _Gather.apply(tensor))


def own_or_mean(gathered: Shaped[Tensor, "P ..."]) -> Shaped[Tensor, "..."]:
    """A process's own tensor of those that `gather` returned in a run of P processes.

    In a run of another number of processes, each takes the mean.
    """
    if len(gathered) != num_processes():
        return gathered.mean(0)
    return gathered[0 if is_first() else torch.distributed.get_rank()].clone()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        gathered = [torch.empty_like(tensor) for _ in range(num_processes())]
        torch.distributed.all_gather(gathered, tensor.contiguous())
        return torch.stack(gathered)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Each process has the same gradient of the same loss. Averaging them divides the own part
        # by the number of processes, of which only this one depends on the own tensor.
        return gradient[torch.distributed.get_rank()] * num_processes()


def gather_objects(value: Result) -> list[Result]:
    """The values of all processes, which can be pickled. Does not wait for the device."""
    values = [value] * num_processes()
    if num_processes() > 1:
        torch.distributed.all_gather_object(values, value, group=_hosts())
    return values


def own_or_first(values: Sequence[Result]) -> Result:
    """A process's own value of those that `gather_objects` returned in an earlier run.

    If there were another number of processes, it is that of the first.
    """
    if len(values) != num_processes() or is_first():
        return values[0]
    return values[torch.distributed.get_rank()]


def own_share(rows: Shaped[Tensor, "B ..."], rank: int, world_size: int) -> Shaped[Tensor, "b ..."]:
    """The rows that one of several processes takes."""
    return rows[rank::world_size]
