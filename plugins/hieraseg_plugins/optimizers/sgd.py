"""Stochastic gradient descent."""

from typing import Annotated

from torch import nn, optim

from hieraseg.types import NonNegativeFloat, PositiveFloat, Range, check_arguments
from hieraseg_plugins.optimizers.groups import parameter_groups


@check_arguments
def sgd(
    parameters: dict[str, list[nn.Parameter]],
    lr: PositiveFloat = 0.01,
    weight_decay: NonNegativeFloat = 5e-4,
    momentum: Annotated[float, Range(ge=0, lt=1)] = 0.9,
    nesterov: bool = False,
    backbone_lr_multiplier: NonNegativeFloat = 1.0,
) -> optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        parameters: trainable parameters under `backbone` and `head`.
        lr: learning rate.
        weight_decay: L2 penalty.
        momentum: momentum factor.
        nesterov: use Nesterov momentum, which needs a positive `momentum`.
        backbone_lr_multiplier: factor of the backbone's learning rate.

    Raises:
        ValueError: an argument is out of range.
    """
    groups = parameter_groups(parameters, lr, backbone_lr_multiplier)
    return optim.SGD(
        groups, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, fused=True
    )
