"""Where to compute: device, precision and processes, by lightning-fabric."""

import logging
import warnings
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from lightning_fabric import Fabric

from hieraseg.errors import HierasegError, RecipeError
from hieraseg.settings import Precision

Result = TypeVar("Result")


def start_fabric(
    device: str = "auto",
    precision: Precision = "32-true",
    devices: int = 1,
    num_nodes: int = 1,
) -> Fabric:
    """Fabric with its processes started; the other processes begin the program anew.

    Raises:
        RecipeError: CUDA is asked for and missing, or has fewer GPUs than asked for.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RecipeError(
            "CUDA is asked for, but torch sees no CUDA device here; choose the device auto or cpu "
            "(training.device in a recipe), or install a driver and a CUDA build of torch"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and devices > torch.cuda.device_count():
        raise RecipeError(
            f"training.devices is {devices}, but there are {torch.cuda.device_count()} GPUs here"
        )
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # Fabric advises on its own Trainer's settings, which are not ours.
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
    """What `work` returns; a mistake that one process finds is raised in all of them.

    Else the others would wait for it for ever.
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
