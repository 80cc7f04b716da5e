"""Memory of this process: that of training steps on a CPU, and what earlier runs left."""

import ctypes
import gc
import os
import sys

import torch

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # parameters of mallopt, in malloc.h


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors, until this process ends.

    By default it returns those above 32 MiB to the system, which clears each one that is allocated
    again: that takes a tenth to a fifth of a step on a CPU. It needs some more memory. No effect if
    the user tunes glibc in the environment, or with another C library.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl and Windows have none
        return
    mallopt(_MMAP_THRESHOLD, 2**30)
    mallopt(_TRIM_THRESHOLD, -1)


def forget_runs() -> None:
    """Free what earlier runs of this process left: reference cycles, GPU memory, compiled code.

    A process compiles a function only so many times, which would keep later runs from it.
    """
    gc.collect()
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
