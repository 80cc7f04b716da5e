"""Parameter groups with the backbone's own learning rate."""

from typing import Any

from torch import nn


def parameter_groups(
    parameters: dict[str, list[nn.Parameter]], lr: float, backbone_lr_multiplier: float
) -> list[dict[str, Any]]:
    """One group per part of the model; the backbone's learning rate is multiplied.

    Raises:
        ValueError: a learning rate that is not positive, or a negative multiplier.
    """
    if not lr > 0:
        raise ValueError(f"lr is {lr}, but must be positive")
    if not backbone_lr_multiplier >= 0:
        raise ValueError(
            f"backbone_lr_multiplier is {backbone_lr_multiplier}, but must not be negative"
        )
    rates = {"backbone": lr * backbone_lr_multiplier}
    return [
        {"params": group, "lr": rates.get(part, lr)} for part, group in parameters.items() if group
    ]
