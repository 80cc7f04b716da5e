"""Stochastic gradient descent of torch."""

from torch import nn, optim

from hieraseg_plugins.optimizers.groups import parameter_groups


def sgd(
    parameters: dict[str, list[nn.Parameter]],
    lr: float = 0.01,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    nesterov: bool = False,
    backbone_lr_multiplier: float = 1.0,
) -> optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        parameters: trainable parameters under `backbone` and `head`.
        lr: learning rate.
        weight_decay: L2 penalty.
        momentum: momentum.
        nesterov: Nesterov's form of momentum.
        backbone_lr_multiplier: the backbone's learning rate as a multiple of `lr`.
    """
    groups = parameter_groups(parameters, lr, backbone_lr_multiplier)
    return optim.SGD(groups, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov)
