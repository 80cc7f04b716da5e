"""Devices, precision and processes of a command, through lightning-fabric."""

import logging
import os
import warnings
from typing import Any, NamedTuple

import torch

from hieraseg import launch
from hieraseg.console import console, log, warn
from hieraseg.errors import RecipeError
from hieraseg.importing import hidden
from hieraseg.processes import part_at_exit
from hieraseg.settings import Precision

# Fabric imports torchmetrics, which imports scipy and matplotlib, only to ask for its version.
with hidden("torchmetrics"):
    from lightning_fabric import Fabric as Fabric
    from lightning_fabric.plugins import MixedPrecision
    from lightning_fabric.plugins.environments import (
        ClusterEnvironment,
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )

# With these, `fabric run` would replace what a recipe says.
_OF_FABRIC = ("LT_ACCELERATOR", "LT_STRATEGY", "LT_DEVICES", "LT_NUM_NODES", "LT_PRECISION")


class _Launcher(NamedTuple):
    """Who starts several processes, and the variables that say which; the first one marks it."""

    name: str
    environment: type[ClusterEnvironment]
    variables: tuple[str, ...]


_TORCHRUN = _Launcher(
    "torchrun",
    TorchElasticEnvironment,
    ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "LOCAL_RANK"),
)
_SLURM = _Launcher(
    "SLURM",
    SLURMEnvironment,
    ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
)
_BY_HAND = _Launcher(
    "another program",
    LightningEnvironment,
    ("LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
)


def start_fabric(
    device: str = "auto",
    precision: Precision = "32-true",
    devices: int = 1,
    num_nodes: int = 1,
) -> Fabric:
    """Start fabric, and all processes unless a launcher such as torchrun has done so.

    Raises:
        RecipeError: the device or the precision is not available, or there are other processes
            than requested.
        Finished: this process only started the others, which have ended.
    """
    device = _available_device(device, devices)
    _check_precision(device, precision)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # Fabric's warnings are about settings of its own Trainer, which is not used.
    warnings.filterwarnings("ignore", module="lightning_fabric")
    # Those of several processes: fabric wraps the model on a stream of its own, as a capture needs,
    # and the gradient of a 1x1 convolution has strides that mean the same as others.
    warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    for name in _OF_FABRIC:
        os.environ.pop(name, None)
    if device == "cuda":
        _set_tf32(precision != "32-true")
    processes = devices * num_nodes
    needs_others = processes > 1 and not launch.is_started()
    launcher = _launcher() if needs_others else None
    if needs_others and launcher is None:
        launch.start(devices, num_nodes)
    environment = _environment(launcher, devices, num_nodes)
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=num_nodes,
        precision="32-true" if precision == "32-true" else None,
        strategy="ddp" if processes > 1 else "auto",
        plugins=[environment, *_mixed_precision(precision, device)],
    )
    if processes > 1:
        launch.watch_starter(by_torchrun=launcher is _TORCHRUN)
        launch.join(fabric.global_rank)
        part_at_exit()
        console.quiet = not fabric.is_global_zero
    if launcher is not None:
        log(f"waiting for all {processes} processes of {launcher.name}")
    fabric.launch()
    return fabric


class _MixedPrecision(MixedPrecision):
    """Mixed precision of operations; inputs stay as they are, since they are not images alone.

    Random numbers and the places of crops would be rounded to a few bits.
    """

    def convert_input(self, data: Any) -> Any:
        return data


def _mixed_precision(precision: Precision, device: str) -> list[MixedPrecision]:
    return [] if precision == "32-true" else [_MixedPrecision(precision, device)]


def start_predicting(device: str, precision: Precision) -> Fabric:
    """Start fabric for a model that was trained in some precision, perhaps on another device.

    Raises:
        RecipeError: there is no such device, or it is not available.
    """
    device = _available_device(device)
    try:
        return start_fabric(device, precision)
    except RecipeError:
        warn(f"training used {precision}, which this device does not have; using 32-true")
        return start_fabric(device)


def precision_of(fabric: Fabric) -> str:
    """The precision that fabric computes in."""
    return str(fabric.strategy.precision.precision)


def _available_device(device: str, devices: int = 1) -> str:
    """The device, with `auto` resolved."""
    if device not in ("auto", "cpu", "cuda"):
        raise RecipeError(f"device: expected auto, cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise RecipeError(
            "CUDA is requested, but torch finds no CUDA device; choose the device auto or cpu "
            "(training.device in a recipe), or install a driver and a CUDA build of torch"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and devices > torch.cuda.device_count():
        raise RecipeError(
            f"training.devices: is {devices}, but there are {torch.cuda.device_count()} GPUs here; "
            "decrease it"
        )
    return device


def _check_precision(device: str, precision: Precision) -> None:
    """Raise RecipeError if a device does not support a precision: fabric would choose another."""
    if precision == "16-mixed" and device == "cpu":
        raise RecipeError(
            "training.precision: 16-mixed needs CUDA, but the device is the CPU; choose "
            "bf16-mixed or 32-true"
        )
    if precision == "bf16-mixed" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise RecipeError(
            "training.precision: this GPU does not support bf16-mixed; choose 16-mixed or 32-true"
        )


def _set_tf32(allowed: bool) -> None:
    """Whether CUDA may round the factors of float32 products to the 10 bits of TF32."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def _launcher() -> _Launcher | None:
    """What has started this process together with others, as its variables say."""
    if TorchElasticEnvironment.detect():
        return _TORCHRUN
    if SLURMEnvironment.detect():
        return _SLURM
    # Some of them may be left over from other programs.
    return _BY_HAND if all(name in os.environ for name in _BY_HAND.variables) else None


def _environment(launcher: _Launcher | None, devices: int, num_nodes: int) -> ClusterEnvironment:
    """How fabric finds the other processes.

    Raises:
        RecipeError: the launcher has started others than requested.
    """
    if launcher is None:
        return LightningEnvironment()
    try:
        environment = launcher.environment()
        environment.validate_settings(devices, num_nodes)
        number = "SLURM_NTASKS" if launcher is _SLURM else "WORLD_SIZE"
        fits = int(os.environ[number]) == devices * num_nodes
        environment.global_rank(), environment.local_rank(), environment.node_rank()
    except (KeyError, RuntimeError, ValueError):
        fits = False
    if not fits:
        found = (f"{name}={os.environ.get(name, '')}" for name in launcher.variables)
        raise RecipeError(
            f"training.devices: {devices} processes on {num_nodes} node(s) are not what "
            f"{launcher.name} has started ({', '.join(found)}); make both agree, or unset "
            f"{launcher.variables[0]} to let hieraseg start its processes"
        )
    return environment
