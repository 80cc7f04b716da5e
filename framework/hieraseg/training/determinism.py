"""Algorithms that give the same numbers each time, on CUDA, too."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch

from hieraseg.errors import RecipeError

_MISSING = " does not have a deterministic implementation"  # in what torch raises
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Inside this context, torch uses deterministic algorithms only, if they are wanted.

    Has to be entered before CUDA is used and before other processes are started, so that cuBLAS
    gets a workspace with which it is deterministic.

    Args:
        wanted: see `training.deterministic`; if false, torch is left as it is.

    Raises:
        RecipeError: an operation has no deterministic algorithm.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    cudnn, memory = torch.backends.cudnn, cast(Any, torch.utils.deterministic)
    flags, filled = (cudnn.deterministic, cudnn.benchmark), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    memory.fill_uninitialized_memory = False  # it takes time, and nothing reads such memory
    try:
        yield
    except RuntimeError as error:
        operation, missing, _ = str(error).partition(_MISSING)
        if not missing:
            raise
        raise RecipeError(
            f"training.deterministic: {operation.split()[-1]} has no deterministic algorithm on "
            "this device; set it to false, or use components without this operation"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before)
        cudnn.deterministic, cudnn.benchmark = flags
        memory.fill_uninitialized_memory = filled
