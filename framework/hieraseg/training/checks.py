"""What is checked before weights are scored."""

from collections.abc import Collection
from itertools import chain

import torch
from torch import nn

from hieraseg.errors import DivergedError
from hieraseg.processes import sum_over_ranks


def not_finite(model: nn.Module) -> set[str]:
    """Names of the weights and buffers with NaN or infinite values, in any process.

    Waits for the device.
    """
    named = chain(model.named_parameters(), model.named_buffers())
    tensors = {name: tensor for name, tensor in named if tensor.is_floating_point()}
    if not tensors:
        return set()
    wrong = torch.stack([~tensor.isfinite().all() for tensor in tensors.values()]).int()
    counts = sum_over_ranks({"wrong": wrong})["wrong"].tolist()
    return {name for name, count in zip(tensors, counts, strict=True) if count}


def check_weights(model: nn.Module, allowed: Collection[str], epoch: int, step: int) -> None:
    """Raise DivergedError, in all processes alike, if weights or buffers are not finite.

    Args:
        model: the model.
        allowed: names of those that were not finite before training, such as a mask.
        epoch, step: how far training is.
    """
    wrong = sorted(not_finite(model) - set(allowed))
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DivergedError(
            f"training diverged in epoch {epoch}, by step {step}: the weights {wrong[0]}{more} "
            "are not finite; lower optimizer.lr, or train in precision 32-true"
        )
