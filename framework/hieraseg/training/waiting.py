"""Operations for which the host waits for the device; a captured step can have none of them."""

from typing import Any

import torch

_INDEXING = ("index", "index_put", "index_put_")


def reads_value(func: Any) -> bool:
    """Whether an operation, as a `TorchDispatchMode` sees it, reads a value of a tensor."""
    name = func.overloadpacket.__name__
    return torch.Tag.data_dependent_output in func.tags or name == "_linalg_check_errors"


def shaped_by_values(func: Any, args: tuple[Any, ...]) -> str:
    """What makes the shape of an operation's result depend on values; empty if nothing."""
    name = func.overloadpacket.__name__
    if name in _INDEXING:
        masks = any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1])
        return "x[mask]" if masks and not _is_filled(args) else ""
    return name.strip("_") if torch.Tag.dynamic_output_shape in func.tags else ""


def _is_filled(args: tuple[Any, ...]) -> bool:
    """Whether one number is written to all pixels of a mask, which torch does as `masked_fill`."""
    return len(args) > 2 and args[2].numel() == 1 and args[2].device.type == "cpu"
