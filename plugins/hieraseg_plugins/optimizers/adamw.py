"""AdamW."""

from typing import Annotated

from torch import nn, optim

from hieraseg.types import NonNegativeFloat, PositiveFloat, Range, check_arguments
from hieraseg_plugins.optimizers.groups import parameter_groups

Beta = Annotated[float, Range(ge=0, lt=1)]


@check_arguments
def adamw(
    parameters: dict[str, list[nn.Parameter]],
    lr: PositiveFloat = 3e-4,
    weight_decay: NonNegativeFloat = 0.01,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    backbone_lr_multiplier: NonNegativeFloat = 1.0,
) -> optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101).

    Args:
        parameters: trainable parameters under `backbone` and `head`.
        lr: learning rate.
        weight_decay: decoupled weight decay.
        betas: decay rates of the running averages of the gradient and its square.
        backbone_lr_multiplier: factor of the backbone's learning rate.

    Raises:
        ValueError: an argument is out of range.
    """
    groups = parameter_groups(parameters, lr, backbone_lr_multiplier)
    # Fused: one kernel instead of many for each tensor, and three times as fast on a CPU.
    return optim.AdamW(groups, lr=lr, weight_decay=weight_decay, betas=betas, fused=True)
