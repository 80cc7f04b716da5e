"""The machine and the packages that a run has."""

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import torch

MAIN_PACKAGES = (
    *("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow"),
    *("jsonargparse", "catalogue", "safetensors"),
)
"""Packages that the results of a run depend on, which are all that older runs recorded."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the results of a run depend on."""
    found = {"python": platform.python_version()}
    for package in MAIN_PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@cache
def all_versions() -> dict[str, str]:
    """Versions of Python and of all packages that are installed."""
    names = {one.metadata["Name"]: one.version for one in distributions()}
    return {"python": platform.python_version()} | {
        name: names[name] for name in sorted(filter(None, names), key=str.lower)
    }


def hardware() -> dict[str, Any]:
    """Processor, memory and GPUs."""
    on_cuda = torch.cuda.is_available()
    gpus = [torch.cuda.get_device_name(gpu) for gpu in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "cpu": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "cpu_cores": os.cpu_count(),
        "memory_bytes": _memory(),
        "gpus": gpus,
        "gpu_driver": _first("/proc/driver/nvidia/version", "NVRM version") if on_cuda else None,
        "cuda": torch.version.cuda if on_cuda else None,
        "cudnn": torch.backends.cudnn.version() if on_cuda else None,
    }


def numerics() -> dict[str, Any]:
    """Settings of PyTorch that change how numbers are rounded."""
    return {
        # With another number of threads, sums are rounded in another order.
        "threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
    }


def _first(file: str, key: str) -> str | None:
    """The value of the first line `key: value` of a file of the Linux kernel, if there is one."""
    for line in _lines(file):
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return None


def _lines(file: str) -> Iterator[str]:
    with suppress(OSError), Path(file).open(encoding="utf-8", errors="replace") as lines:
        yield from lines


def _memory() -> int | None:
    """Bytes of main memory, where the system tells them."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # as on Windows
        return None
