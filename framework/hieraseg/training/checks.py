"""What is checked after the steps of an epoch, and of its scores."""

from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from hieraseg.errors import DivergedError
from hieraseg.hierarchy import Hierarchy
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


def deciding_level(scores: Mapping[str, Any], hierarchy: Hierarchy) -> int | None:
    """The level whose mIoU decides which epoch is the best one.

    It is the finest level on which the validation split has labels of another class than
    background; 1 is the coarsest. None if there is no such level.

    Args:
        scores: scores of the validation split, from `metrics.summarize`.
        hierarchy: the class tree.
    """
    for level in reversed(scores["levels"]):
        # The accuracy of a class without labels is None.
        accuracies = {**level["accuracy"], hierarchy.background: None}
        if any(accuracy is not None for accuracy in accuracies.values()):
            return int(level["level"])
    return None


def deciding_notice(level: int | None, hierarchy: Hierarchy) -> str | None:
    """What to say of the level that decides, unless it is the finest one."""
    if level is None:
        return (
            "the split val has no label of a class other than background, so all epochs "
            "are equal and the last one counts as best; check its masks and the class tree"
        )
    if level < hierarchy.num_levels:
        return f"the labels of val end on level {level}, so its mIoU decides which epoch is best"
    return None
