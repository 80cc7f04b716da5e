"""Whether two computations gave the same, and by how much they differ."""

from collections.abc import Sequence

import torch
from torch import Tensor


def difference(
    found: Sequence[Tensor],
    expected: Sequence[Tensor],
    rtol: float = 2e-4,
    atol: float = 2e-6,
    of_largest: float = 0.0,
) -> str:
    """How the first pair of unequal tensors differs; empty where all are equal.

    Args:
        found: tensors on any device.
        expected: as many.
        rtol: allowed difference, as a share of the number expected.
        atol: allowed difference.
        of_largest: allowed difference, as a share of the tensor's largest number.
    """
    if len(found) != len(expected):
        return f"{len(found)} tensors instead of {len(expected)}"
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            return f"shape {list(one.shape)} instead of {list(other.shape)}"
        if not other.numel():
            continue
        one, other = one.detach().cpu().double(), other.detach().cpu().double()
        allowed = atol + rtol * other.abs() + of_largest * other.abs().max()
        # Not `>`, which is false for NaN.
        far = ~((one - other).abs() <= allowed) & ~(one == other)
        if far.any():
            worst = torch.where(far, (one - other).abs().nan_to_num(torch.inf), -1).argmax()
            return f"{one.flatten()[worst]:.6g} instead of {other.flatten()[worst]:.6g}"
    return ""


def finite(tensors: Sequence[Tensor]) -> bool:
    """Whether no tensor has an infinity or NaN."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
