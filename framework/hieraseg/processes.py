"""Several processes and devices, through lightning-fabric. No other module knows of them."""

import logging
import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar, cast

import torch
from jaxtyping import Shaped
from lightning_fabric import Fabric
from torch import Tensor

from hieraseg.errors import HierasegError, RecipeError
from hieraseg.settings import Precision

Result = TypeVar("Result")


def start_fabric(
    device: str = "auto",
    precision: Precision = "32-true",
    devices: int = 1,
    num_nodes: int = 1,
) -> Fabric:
    """Start fabric and its processes; all but the first start the program anew.

    Raises:
        RecipeError: CUDA is requested but not available, or has fewer GPUs than requested.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RecipeError(
            "CUDA is requested, but torch finds no CUDA device; choose the device auto or cpu "
            "(training.device in a recipe), or install a driver and a CUDA build of torch"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and devices > torch.cuda.device_count():
        raise RecipeError(
            f"training.devices is {devices}, but there are {torch.cuda.device_count()} GPUs here"
        )
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # Fabric's warnings are about settings of its own Trainer, which is not used.
    warnings.filterwarnings("ignore", module="lightning_fabric")
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=num_nodes,
        precision=precision,
        strategy="ddp" if devices * num_nodes > 1 else "auto",
    )
    fabric.launch()
    return fabric


def on_all_ranks(fabric: Fabric, work: Callable[[], Result]) -> Result:
    """Run a function in every process; an error of one is raised in all of them.

    Otherwise the others would wait for it forever.

    Raises:
        HierasegError: what `work` raised in any process.
    """
    result, error = None, None
    try:
        result = work()
    except (HierasegError, OSError) as caught:
        error = caught
    errors = [error]
    if fabric.world_size > 1:
        errors = [None] * fabric.world_size
        torch.distributed.all_gather_object(errors, error)
    for found in errors:
        if found is not None:
            raise found
    return cast(Result, result)


def broadcast(fabric: Fabric, tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the first process, whose weights are the ones saved."""
    if fabric.world_size > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor.detach(), 0)


def sum_over_ranks(fabric: Fabric, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each summed over all processes."""
    if fabric.world_size == 1:
        return tensors
    return {
        key: cast(Tensor, fabric.all_reduce(tensor, reduce_op="sum"))
        for key, tensor in tensors.items()
    }


def mean_over_ranks(fabric: Fabric, tensor: Tensor) -> Tensor:
    """The mean of a tensor over all processes."""
    if fabric.world_size == 1:
        return tensor
    return cast(Tensor, fabric.all_reduce(tensor, reduce_op="mean"))


def own_share(rows: Shaped[Tensor, "B ..."], rank: int, world_size: int) -> Shaped[Tensor, "b ..."]:
    """The rows that one of several processes takes."""
    return rows[rank::world_size]


def terminate_others(fabric: Fabric) -> None:
    """End the processes that this one started, which would wait for it."""
    for process in getattr(fabric.strategy.launcher, "procs", []):
        process.terminate()
