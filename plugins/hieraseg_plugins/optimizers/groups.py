"""Parameter groups in which the backbone has its own learning rate."""

from typing import Any

from torch import nn


def parameter_groups(
    parameters: dict[str, list[nn.Parameter]], lr: float, backbone_lr_multiplier: float
) -> list[dict[str, Any]]:
    """One parameter group per part of the model.

    Args:
        parameters: trainable parameters under `backbone` and `head`. Empty parts are left out.
        lr: learning rate.
        backbone_lr_multiplier: factor of the backbone's learning rate.
    """
    rates = {"backbone": lr * backbone_lr_multiplier}
    return [
        {"params": group, "lr": rates.get(part, lr)} for part, group in parameters.items() if group
    ]
