"""The recipe sections that configure the core itself; all others name a plugin."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def _at_least(minimum: int, **settings: int | None) -> None:
    for key, value in settings.items():
        if value is not None and value < minimum:
            raise ValueError(f"{key} is {value}, but must be at least {minimum}")


@dataclass(frozen=True)
class Training:
    """How long, how fast and where to train.

    Args:
        epochs: passes over the training split.
        batch_size: images per step, all processes together.
        device: `cuda`, `cpu`, or `auto` for CUDA where there is one.
        devices: processes on each node, one per GPU.
        num_nodes: machines that train together.
        precision: `32-true`, or a mixed precision; losses compute in float32 in any case.
        seed: of initial weights, order and augmentation.
        max_steps: stop after so many steps, even within an epoch.
    """

    epochs: int = 50
    batch_size: int = 16
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: Precision = "32-true"
    seed: int = 0
    max_steps: int | None = None

    def __post_init__(self) -> None:
        _at_least(
            1,
            epochs=self.epochs,
            batch_size=self.batch_size,
            devices=self.devices,
            num_nodes=self.num_nodes,
            max_steps=self.max_steps,
        )
        _at_least(0, seed=self.seed)
        if self.seed >= 2**32:
            raise ValueError(f"seed is {self.seed}, but must be below 2**32")
        processes = self.devices * self.num_nodes
        if self.batch_size % processes:
            raise ValueError(
                f"batch_size is {self.batch_size}, which {processes} processes cannot share evenly"
            )


@dataclass(frozen=True)
class Evaluation:
    """The protocol of the scores.

    Args:
        resolution: score at the truth's own resolution (`native`), or at the model's (`input`).
        batch_size: images per forward pass.
    """

    resolution: Literal["native", "input"] = "native"
    batch_size: int = 16

    def __post_init__(self) -> None:
        _at_least(1, batch_size=self.batch_size)


@dataclass(frozen=True)
class Logging:
    """What a run leaves behind beside its scores.

    Args:
        tensorboard: write curves and pictures for TensorBoard.
        checkpoints: keep the weights of the best and the last epoch.
        images: how many validation images are drawn each epoch, always the same ones.
    """

    tensorboard: bool = True
    checkpoints: bool = True
    images: int = 4

    def __post_init__(self) -> None:
        _at_least(0, images=self.images)
