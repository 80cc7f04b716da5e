"""Recipe sections that configure the framework itself; all others name a component."""

from dataclasses import dataclass
from typing import Annotated, Literal

from hieraseg.types import (
    ArgumentError,
    NonEmpty,
    NonNegativeInt,
    PositiveInt,
    Range,
    check_arguments,
)

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Scale = Annotated[float, Range(gt=0, le=16)]
"""Factor of test-time augmentation. Larger ones are typing errors, and exceed any memory."""


@check_arguments
@dataclass(frozen=True)
class Training:
    """How long, how fast and where to train.

    Args:
        epochs: passes over the training split.
        batch_size: images per step, over all processes.
        device: `cuda`, `cpu`, or `auto` for CUDA if available.
        devices: processes per node, one per GPU.
        num_nodes: number of nodes.
        precision: `32-true`, or a mixed precision; losses compute in float32 in any case.
        seed: seed of initial weights, order and augmentation.
        max_steps: stop after this number of steps, even within an epoch.
    """

    epochs: PositiveInt = 50
    batch_size: PositiveInt = 16
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: PositiveInt = 1
    num_nodes: PositiveInt = 1
    precision: Precision = "32-true"
    seed: Annotated[int, Range(ge=0, lt=2**32)] = 0
    max_steps: PositiveInt | None = None

    def __post_init__(self) -> None:
        processes = self.devices * self.num_nodes
        if self.batch_size % processes:
            raise ArgumentError(
                "batch_size",
                f"must be a multiple of the {processes} processes, got {self.batch_size}",
            )


@check_arguments
@dataclass(frozen=True)
class Evaluation:
    """The protocol of the scores, and test-time augmentation.

    Scores are averaged over the image at each scale and, with `flip`, its mirror images. Within
    each of these, `window` averages logits.

    Args:
        resolution: score at the target's own resolution (`native`), or at the model's (`input`).
        batch_size: images per forward pass; the logits of all their augmented versions are in
            memory at once.
        flip: predict the mirrored image as well; left and right classes are swapped back.
        scales: factors by which the image is resized; 1 is the input size, `data.size`. Above 1,
            `predict` enlarges the image itself, and scoring its stored copy of the input size.
        window: height and width in pixels of a window that slides over each resized image that is
            larger; null for the whole image at once.
        window_overlap: overlap of neighbouring windows, as a share of the window's sides.
    """

    resolution: Literal["native", "input"] = "native"
    batch_size: PositiveInt = 16
    flip: bool = False
    scales: Annotated[tuple[Scale, ...], NonEmpty()] = (1.0,)
    window: tuple[PositiveInt, PositiveInt] | None = None
    window_overlap: Annotated[float, Range(ge=0, lt=1)] = 0.5

    @property
    def tta(self) -> str:
        """The test-time augmentation as text, as in `scales 0.5 1, flip`."""
        words = ["scales " + " ".join(f"{scale:g}" for scale in sorted(self.scales))]
        if self.flip:
            words.append("flip")
        if self.window is not None:
            height, width = self.window
            words.append(f"window {height}x{width} overlap {self.window_overlap:g}")
        return ", ".join(words)


@check_arguments
@dataclass(frozen=True)
class Logging:
    """What a run writes beside its scores.

    Args:
        tensorboard: write curves and images for TensorBoard.
        checkpoints: keep the weights of the best and the last epoch.
        images: number of validation images that are drawn each epoch and at the end, always the
            same ones.
    """

    tensorboard: bool = True
    checkpoints: bool = True
    images: NonNegativeInt = 4
