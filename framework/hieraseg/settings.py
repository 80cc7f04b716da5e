"""Recipe sections that configure the framework itself; all others name a component."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from hieraseg.contracts import Transform
from hieraseg.types import (
    STEPS_OR_EPOCHS,
    ArgumentError,
    Ascending,
    Distinct,
    DropRate,
    NonEmpty,
    NonNegativeFloat,
    NonNegativeInt,
    Pattern,
    PositiveFloat,
    PositiveInt,
    Probability,
    Range,
    check_arguments,
)

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Scale = Annotated[float, Range(gt=0, le=16)]
"""Factor of test-time augmentation. Larger ones are typing errors, and exceed any memory."""

INTERVAL = r"([1-9]\d{0,8}) (step|epoch|minute)s?"
"""How an interval is written."""
INTERVALS = "an interval such as 500 steps, 2 epochs or 10 minutes"

_Area = Annotated[float, Range(gt=0, le=1)]
_Interval = Annotated[tuple[PositiveFloat, PositiveFloat], Ascending()]


@check_arguments
@dataclass(frozen=True)
class Input:
    """What the model sees of an image.

    Args:
        size: height and width in pixels of the images that the model trains on.
        resize: how an image is brought there. `stretch` resizes it to `size`, whatever its shape.
            `shorter` and `longer` keep its aspect ratio, and give this side of the image its
            length in `size`; `none` keeps its own resolution. Training then takes a random crop of
            `size`, with void outside the image.
        store: `decoded` keeps decoded images in the cache, `files` decodes them again whenever
            they are needed, with the same result; `auto` chooses by the free space.
    """

    size: tuple[PositiveInt, PositiveInt] = (224, 224)
    resize: Literal["stretch", "shorter", "longer", "none"] = "stretch"
    store: Literal["auto", "decoded", "files"] = "auto"


@check_arguments
@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images.

    Scale, rotation, shift, flip and crop are one sampling of the stored pixels: bilinear for
    images, nearest for masks.

    Args:
        flip: probability of a horizontal flip, which swaps left and right classes.
        affine: probability of a random scale, rotation and shift about the center.
        scale: minimum and maximum factor by which an image is enlarged.
        rotate: maximum angle in degrees.
        shift: maximum shift, relative to the width and height.
        crop: probability of a random resized crop; only with `input.resize: stretch`, since the
            other ways of resizing always take a crop.
        crop_scale: minimum and maximum area of such a crop, relative to the image.
        crop_ratio: minimum and maximum aspect ratio of such a crop, relative to the image.
        crop_tries: number of random positions of a crop, of which the first one is taken where no
            class covers more than three quarters; not with `input.resize: stretch`.
        transforms: further transforms, which are applied in this order.
    """

    flip: Probability = 0.5
    affine: Probability = 1.0
    scale: _Interval = (1.0, 1.0)
    rotate: NonNegativeFloat = 0.0
    shift: Probability = 0.0
    crop: Probability = 0.0
    crop_scale: Annotated[tuple[_Area, _Area], Ascending()] = (0.8, 1.0)
    crop_ratio: _Interval = (3 / 4, 4 / 3)
    crop_tries: PositiveInt = 1
    transforms: Sequence[Transform] = ()


@check_arguments
@dataclass(frozen=True)
class Auxiliary:
    """A second head, on one stage of the backbone, which only training has.

    A 3x3 convolution, batch normalization, ReLU, dropout and a 1x1 convolution per level. The
    recipe's loss of its logits is added to the loss, as the term `auxiliary` (Zhao et al. 2016,
    arXiv:1612.01105).

    Args:
        stage: stage of the backbone that it reads, 1 for the finest; null for no such head.
        weight: weight of its loss; also of the loss of auxiliary logits that a `model` returns.
        channels: channels of the 3x3 convolution.
        dropout: probability by which a channel is zero.
    """

    stage: PositiveInt | None = None
    weight: PositiveFloat = 0.4
    channels: PositiveInt = 256
    dropout: DropRate = 0.1


@check_arguments
@dataclass(frozen=True)
class Init:
    """The weights that training starts from.

    A run's recipe, and so `evaluate` and `predict`, need them no more: its checkpoints have all
    weights. Heads of a run with another class tree are kept by class name: the weights of a class
    are those of the class with its name in the same head.

    Args:
        from_: a run folder, whose best checkpoint is read; one of its checkpoint folders; or a
            weights file, safetensors or a state dict. Null for the weights that the components
            start with.
        strict: whether all tensors have to fit. If false, those that fit by name and shape are
            loaded, and a log line says which ones do not.
        drop: parts of the model that are not loaded: `backbone`, `head` (all the rest), or modules
            such as `decoder.branches.0`.
    """

    from_: Path | None = None
    strict: bool = True
    drop: Sequence[str] = ()


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
        precision: `32-true`, or a mixed precision, in which what stays in float32 is multiplied in
            TF32 on CUDA; losses compute in float32 in any case.
        capture: `auto` captures the step in a CUDA graph, so that the GPU does not wait for Python;
            a log line says where this is not possible, and why.
        accumulate: parts of a batch that are computed one after another, so that less memory is
            needed. Their gradients are averaged; batch normalization sees one part at a time.
        clip_norm: largest norm of the gradient of all weights; null for any.
        ema: decay of the moving average of the weights, which is then what is scored and saved; in
            the first steps it is lower. Null to score the weights themselves.
        deterministic: use algorithms that give the same numbers each time, on CUDA, too.
        on_nonfinite: what to do if a loss or gradient is not finite. `stop` ends the run, and saves
            the batch; `skip` leaves the weights as they are, and goes on.
        repeat_threshold: images with a class that is in less than this share of the images are
            drawn more often, by the square root of the ratio for their rarest class; classes are
            those of the finest level without background. Null to draw all images equally often.
        compile: `model` compiles the model by `torch.compile`, `step` the augmentation, the loss
            and the scores of the training images with it. The first step then takes minutes.
        sync_batch_norm: batch normalization over the images of all processes, on CUDA.
        freeze: parts of the model that stay as they are, statistics of batch normalization
            included: `backbone`, `head` (all the rest), or modules such as `backbone.stages.0`.
        seed: seed of initial weights, order and augmentation.
        max_steps: stop after this number of steps, even within an epoch.
    """

    epochs: PositiveInt = 50
    batch_size: PositiveInt = 16
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: PositiveInt = 1
    num_nodes: PositiveInt = 1
    precision: Precision = "32-true"
    capture: Literal["auto", "off"] = "auto"
    accumulate: PositiveInt = 1
    clip_norm: PositiveFloat | None = None
    ema: Annotated[float, Range(gt=0, lt=1)] | None = None
    deterministic: bool = False
    on_nonfinite: Literal["stop", "skip"] = "stop"
    repeat_threshold: Annotated[float, Range(gt=0, le=1)] | None = None
    compile: Literal["off", "model", "step"] = "off"
    sync_batch_norm: bool = False
    freeze: Sequence[str] = ()
    seed: Annotated[int, Range(ge=0, lt=2**32)] = 0
    max_steps: PositiveInt | None = None

    def __post_init__(self) -> None:
        processes = self.devices * self.num_nodes
        if self.batch_size % processes:
            raise ArgumentError(
                "batch_size",
                f"must be a multiple of the {processes} processes, got {self.batch_size}",
            )
        if self.batch_size // processes % self.accumulate:
            raise ArgumentError(
                "accumulate",
                f"must divide the {self.batch_size // processes} images of a process in a step, "
                f"got {self.accumulate}",
            )


@check_arguments
@dataclass(frozen=True)
class Evaluation:
    """The protocol of the scores, and test-time augmentation.

    Scores are averaged over the image at each scale and, with `flip`, its mirror images. Images
    are padded to a multiple of the model's stride, unless they are stretched to `input.size`.

    Args:
        resolution: score at the target's own resolution (`native`), or at that of the images that
            the model sees (`input`).
        batch_size: whole images per forward pass; the logits of all their augmented versions are
            in memory at once. Windows are predicted one by one.
        flip: predict the mirrored image as well; left and right classes are swapped back.
        scales: factors by which the image is resized; 1 is the size that `input` gives to it, or
            its own with `window`. Above 1, without `window`, `predict` enlarges the image itself,
            and scoring the image at scale 1.
        window: height and width in pixels of a window that slides over the image at its own
            resolution, times the scale; null for the whole image at once, resized by `input`.
        window_overlap: overlap of neighbouring windows, as a share of the window's sides; their
            logits are blended.
    """

    resolution: Literal["native", "input"] = "native"
    batch_size: PositiveInt = 16
    flip: bool = False
    scales: Annotated[tuple[Scale, ...], Distinct(), NonEmpty()] = (1.0,)
    window: tuple[PositiveInt, PositiveInt] | None = None
    window_overlap: Annotated[float, Range(ge=0, lt=1)] = 0.5

    @property
    def tta(self) -> str:
        """Test-time augmentation and window as a string, as in `scales 0.5 1, flip`."""
        words = ["scales " + " ".join(f"{scale:g}" for scale in sorted(self.scales))]
        if self.flip:
            words.append("flip")
        if self.window is not None:
            height, width = self.window
            words.append(f"window {height}x{width} overlap {self.window_overlap:g}")
        return ", ".join(words)


@check_arguments
@dataclass(frozen=True)
class Validation:
    """When the split `val` is scored while a run trains, and what follows from its scores.

    Args:
        every: `1 epoch` or `500 steps`, with any number; it is also scored after the last step.
        monitor: the score that decides which checkpoint is the best: `miou` of the finest level
            that has labels; a score of one level, as in `miou@2` (1 is the coarsest); its mean over
            the levels that have labels, as in `miou@mean`; `coherence`; or `loss`, of which the
            lowest is the best.
        patience: validations without a better score after which the run ends; null for none.
        loss: compute the loss of `val`, too, without augmentation: the mean over its images,
            resized as `input` says, each weighted by its number of labelled pixels.
    """

    every: Annotated[str, Pattern(STEPS_OR_EPOCHS, "an interval such as 500 steps or 2 epochs")] = (
        "1 epoch"
    )
    monitor: str = "miou"
    patience: PositiveInt | None = None
    loss: bool = False

    def __post_init__(self) -> None:
        if self.monitor == "loss" and not self.loss:
            raise ArgumentError("monitor", "the loss is only computed with validation.loss: true")


@check_arguments
@dataclass(frozen=True)
class Checkpoints:
    """When a run saves its state, from which `hieraseg resume` continues it, and its best weights.

    Ctrl-C and SIGTERM save it as well, after the step that is being taken.

    Args:
        every: `1 epoch`, `500 steps` or `10 minutes`, with any number; null to save nothing, so
            that the run can neither be resumed nor predict. It is also saved after an epoch that
            is the best so far, and at the end.
        keep: versions of the checkpoints `last` and `best` to keep: where the newest one is
            damaged, a run is resumed from the one before.
    """

    every: Annotated[str, Pattern(INTERVAL, INTERVALS)] | None = "1 epoch"
    keep: PositiveInt = 2


@check_arguments
@dataclass(frozen=True)
class Logging:
    """What a run shows beside its scores.

    Args:
        images: number of validation images that are drawn each epoch and at the end, always the
            same ones.
    """

    images: NonNegativeInt = 4
