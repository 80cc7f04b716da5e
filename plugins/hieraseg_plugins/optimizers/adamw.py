"""AdamW of torch."""

from torch import nn, optim

from hieraseg_plugins.optimizers.groups import parameter_groups


def adamw(
    parameters: dict[str, list[nn.Parameter]],
    lr: float = 3e-4,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.999),
    backbone_lr_multiplier: float = 1.0,
) -> optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101).

    Args:
        parameters: trainable parameters under `backbone` and `head`.
        lr: learning rate.
        weight_decay: decoupled weight decay.
        betas: decay rates of the averages of the gradient and of its square.
        backbone_lr_multiplier: the backbone's learning rate as a multiple of `lr`.
    """
    groups = parameter_groups(parameters, lr, backbone_lr_multiplier)
    return optim.AdamW(groups, lr=lr, weight_decay=weight_decay, betas=betas)
