"""Comparison of tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor


def difference(
    found: Sequence[Tensor],
    expected: Sequence[Tensor],
    rtol: float = 2e-4,
    atol: float = 2e-6,
    max_rtol: float = 0.0,
) -> str:
    """Describe the largest difference in the first pair of tensors that are not close.

    Args:
        found: tensors on any device.
        expected: tensors that they are compared with.
        rtol: tolerance relative to each expected number.
        atol: absolute tolerance.
        max_rtol: tolerance relative to the largest number of each expected tensor.

    Returns:
        An empty string if all are close.
    """
    if len(found) != len(expected):
        return f"{len(found)} tensors instead of {len(expected)}"
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            return f"shape {list(one.shape)} instead of {list(other.shape)}"
        if not other.numel():
            continue
        one, other = one.detach().cpu().double(), other.detach().cpu().double()
        allowed = atol + rtol * other.abs() + max_rtol * other.abs().max()
        # Not `>`, which is false for NaN.
        far = ~((one - other).abs() <= allowed) & ~(one == other)
        if far.any():
            worst = torch.where(far, (one - other).abs().nan_to_num(torch.inf), -1).argmax()
            return f"{one.flatten()[worst]:.6g} instead of {other.flatten()[worst]:.6g}"
    return ""


def finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all tensors are finite."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
