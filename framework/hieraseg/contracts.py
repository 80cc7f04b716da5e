"""Contracts: what a component of each kind has to offer.

A component is a class or function in a registry. The runner passes some arguments to it, if its
signature has them (see `hieraseg.registry.kinds`); the recipe sets all others.

A training step is a function of tensors on the device: on CUDA it is captured in a graph, and the
graph is replayed. Losses, backbones, decoders, models, transforms, inference rules and optimizers
are part of it. A component that reads values back from the device, has shapes that depend on the
data, or keeps state in Python that changes, says so by two attributes of the class or function:

    capturable = False
    capturable_reason = "sorts on the host"

Then the run takes its steps from Python, which is slower, and logs the reason. A backbone, decoder
or model of which that is true with some arguments only sets them in its `__init__`.

A component that wraps a library of many models has a function `choices(filter)`, a static method of
a class, which returns a `Choice` for each that contains the text `filter`. `hieraseg list KIND NAME
--filter TEXT` lists them.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Integer, UInt, UInt8
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hieraseg.draws import Draws

Activation = Literal["softmax", "sigmoid", "leaf_softmax", "sibling_softmax", "descendant_max"]
"""How logits become scores.

* `softmax`: over the classes of each level.
* `sigmoid`: of each class.
* `leaf_softmax`: over the leaves; the score of a parent is the sum over its leaves.
* `sibling_softmax`: over siblings, multiplied by the score of the parent.
* `descendant_max`: the highest sigmoid of a class and its descendants.
"""


class Choice(NamedTuple):
    """One of the models, or whatever else, that a component can be told to be.

    Attributes:
        value: its name, as an argument of the component has it.
        details: computes what else `hieraseg list` shows, as in `{"parameters": 28589128}`, JSON
            values by name. It is called for those that are shown only.
    """

    value: str
    details: Callable[[], dict[str, Any]]


class Prediction(NamedTuple):
    """Output of a model.

    Attributes:
        logits: float `[B, C_l, H, W]` per level, coarsest first; only of the finest level for a
            loss whose `levels` are "leaves".
        embedding: float `[B, D, h, w]`, or None if no loss trains one.
        auxiliary: logits of an auxiliary head like `logits`, which only training has, or None.
    """

    logits: tuple[Float[Tensor, "B _ H W"], ...]
    embedding: Float[Tensor, "B D h w"] | None = None
    auxiliary: tuple[Float[Tensor, "B _ H W"], ...] | None = None


class Loss(nn.Module):
    """Base class of losses: `(prediction, targets) -> named terms`, whose sum is minimised.

    The runner passes to `__init__`, if its signature has them, `hierarchy` and `class_pixels`
    (float64 `[C_l]` per level, number of training pixels of each class), and to `forward` a third
    argument `progress`, the share of training that is done, in [0, 1): in a training step a float32
    tensor `[]` on the device of the targets, elsewhere perhaps a float. A loss may have buffers but
    no parameters: what is learned is part of the decoder. For a batch without valid pixels it
    returns zero with a graph.

    Each of several processes has a part of the batch, and their gradients are averaged. A mean over
    pixels is that of the whole batch if it is taken with `functional.mean_over_valid` or divided by
    `functional.denominator`; else it is one per process, in which pixels weigh differently.

    Attributes:
        levels: which logits it trains: those of all levels ("all"), of the finest ("leaves"), or
            none ("none"), for a loss of the embedding, which is used inside another loss.
        activation: how its logits become scores (see `Activation`).
        embedding_channels: D of the embedding that it trains, which the decoder has to provide;
            0 for none.
        standalone: whether it trains the classes without another loss beside it.
        pixelwise: whether each term is a mean over valid pixels, so that one of some of them makes
            sense; not for a loss that compares pixels, or regions of them.
        capturable: whether it can be part of a captured training step (see the top of the module).
        capturable_reason: why not, as in "sorts on the host".
    """

    levels: Literal["all", "leaves", "none"] = "all"
    activation: Activation = "softmax"
    embedding_channels: int = 0
    standalone: bool = True
    pixelwise: bool = False
    capturable: bool = True
    capturable_reason: str = ""

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Compute the terms.

        Args:
            prediction: logits at the size of the targets.
            targets: class of each pixel per level, -100 where it is ignored.
        """
        raise NotImplementedError


@runtime_checkable
class Backbone(Protocol):
    """Image -> feature pyramid, finest first. A `torch.nn.Module`.

    It may have `capturable` and `capturable_reason` (see the top of the module).

    A backbone with pretrained weights has an argument `weights`, which accepts None for random
    ones. The runner passes None when it loads a checkpoint afterwards, so that evaluation neither
    downloads nor reads the pretrained weights.

    For learning rates that decay from layer to layer, it has an attribute `num_layers` and a method
    `layer_of(parameter_name: str) -> int`: the layer of each of its `named_parameters()`, from 0
    for the stem to `num_layers - 1`.

    If some of its modules have random weights even where `weights` are given, as a neck has, an
    attribute `untrained` lists their names: a run that freezes them says so.

    Attributes:
        channels: number of channels of each feature map.
        strides: input pixels per pixel of each feature map, ascending.
        mean, std: statistics of the images that it was trained on (RGB in [0, 1]), by which the
            model normalises.
    """

    channels: list[int]
    strides: list[int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> Sequence[Float[Tensor, "B _ _ _"]]: ...


@runtime_checkable
class Decoder(Protocol):
    """Feature pyramid -> logits per level, at any stride. A `torch.nn.Module`.

    It may have `capturable` and `capturable_reason` (see the top of the module).

    The runner passes to `__init__`, if its signature has them, `channels` and `strides` of the
    backbone, `num_classes` (of each level that needs logits, coarsest first), `hierarchy`, and
    `embedding_channels` (D of the embedding to provide, 0 for none). A decoder without the last
    provides no embedding.
    """

    def __call__(self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> Prediction: ...


@runtime_checkable
class Model(Protocol):
    """Image -> logits per level, at any stride, without a decoder. A `torch.nn.Module`.

    A recipe names it in the section `model`, instead of `backbone` and `decoder`. An argument that
    is annotated with `Backbone` can be set to any backbone. It may have `capturable` and
    `capturable_reason` (see the top of the module), and an argument `weights` as backbones have.

    The runner passes to `__init__`, if its signature has them, `num_classes` (of each level that
    needs logits, coarsest first), `hierarchy`, and `embedding_channels` (D of the embedding to
    provide, 0 for none). A model without the last provides no embedding. In training mode it may
    return auxiliary logits, whose loss is added by `auxiliary.weight` of the recipe.

    If it has an attribute `backbone`, an `nn.Module`, those parameters are the optimizer's group
    `backbone`; all others are in the group `head`.

    Attributes:
        stride: in evaluation, images are padded to a multiple of it.
        mean, std: statistics of images (RGB in [0, 1]), by which the images that it gets are
            normalised.
    """

    stride: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> Prediction: ...


@runtime_checkable
class Dataset(Protocol):
    """Images and label masks by id, read by several threads at once.

    The runner passes `hierarchy` to `__init__` if its signature has it. An argument `root` of type
    `Path | None` is the folder of the data set: if a recipe leaves it null, the runner passes
    `hieraseg.data_folder(name)`. The name is that of the component, or the value of its argument
    `dataset`, if it has one and a recipe sets it.

    It returns images and masks as they are stored; the recipe's section `input` says how they are
    resized.

    A data set that joins others also has the attributes `datasets`, a list of them, and `weights`,
    how often training takes images of each, relative to the others, or None to take all images
    equally often. Its ids are those of the members behind their number, as in `2/<id>`.

    If it knows the names of its label values, an attribute `label_names` has them, as in
    `{0: "background", 1: "head"}`. A recipe whose hierarchy has one of these names for another
    value is refused.

    Attributes:
        splits: names of the splits; training needs `train` and `val`.
    """

    splits: tuple[str, ...]

    def ids(self, split: str) -> list[str]:
        """Ids of a split, at least one.

        An id is unique in the data set, and names its output files: it is a plain name, or a
        relative path with `/`.
        """
        ...

    def image(self, id: str) -> UInt8[np.ndarray, "H W 3"]:
        """RGB image of any size. Raises DataError if it cannot be read (see `read_image`)."""
        ...

    def mask(self, id: str) -> UInt[np.ndarray, "H W"]:
        """Label values of the pixels, uint8 or uint16, at the size of the image.

        `hieraseg.VOID` (65535) is void in any tree that does not use this value itself.

        Raises DataError with the file if it cannot be read.
        """
        ...

    def fingerprint(self, split: str) -> str:
        """A string, fast to compute, that changes whenever the images or masks of a split do."""
        ...


@runtime_checkable
class Transform(Protocol):
    """Random augmentation of training images, after they were cropped to the input size.

    The runner passes `hierarchy` to `__init__` if its signature has it. All random numbers come
    from the draws, so that they depend on the seed, the epoch, the step and the image alone.

    A transform that mixes the images of a batch says so by the class attribute `mixes = True`. With
    several processes, it has those of one process. It may also have `capturable` and
    `capturable_reason` (see the top of the module).
    """

    def __call__(
        self,
        images: Float[Tensor, "B 3 H W"],
        masks: Integer[Tensor, "B H W"],
        draws: Draws,
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Return changed copies of images and masks, or what it leaves as it is.

        Args:
            images: RGB, float32 in 0..1, on the training device.
            masks: label values; `hierarchy.void_value` outside an image.
            draws: random numbers of the images.
        """
        ...


@runtime_checkable
class InferenceRule(Protocol):
    """Scores per level -> one class per level.

    The runner passes `hierarchy` to `__init__` if its signature has it. Training counts its
    predictions, so it may have `capturable` and `capturable_reason` (see the top of the module).
    """

    def __call__(
        self, scores: Sequence[Float[Tensor, "B _ H W"]]
    ) -> Int[Tensor, "B levels H W"]: ...


@runtime_checkable
class OptimizerFactory(Protocol):
    """Parameters -> optimizer. The runner passes the trained parameters of `backbone` and `head`.

    If its signature has an argument `model`, the runner also passes the model, in which the
    parameters have names; `model.backbone_name` is that of its backbone, or empty.

    In a training step, the learning rates of the groups are tensors on the device, and on CUDA the
    option `capturable` of each group that has it is set. It, or the optimizer that it returns, may
    have `capturable` and `capturable_reason` (see the top of the module).
    """

    def __call__(self, parameters: dict[str, list[nn.Parameter]]) -> Optimizer: ...


@runtime_checkable
class ScheduleFactory(Protocol):
    """Optimizer -> learning rate schedule, which is stepped after each training step.

    If its signature has an argument `steps_per_epoch`, the runner also passes the number of steps
    in an epoch.
    """

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LRScheduler: ...


@runtime_checkable
class Tracker(Protocol):
    """Shows a run while it trains: its settings, curves and pictures.

    The methods are those of `lightning_fabric.loggers.Logger`, so any logger of lightning-fabric
    or Lightning is a tracker. Only the main process has trackers. They are called by one thread at
    a time, not always the same one, and change no result: one that raises an error is left out for
    the rest of the run, after a warning; a method that raises NotImplementedError is left out.

    The runner passes to `__init__`, if its signature has them, `folder` (`Path` of the run folder)
    and `after_step`: 0 for a new run; for one that goes on, the number of optimizer steps from
    which it does, and of later steps everything is logged again.

    It may have a method `log_image(key: str, images: list, step: int)`, as Lightning's W&B logger
    has. The images are pictures to look at, uint8 `[H, W, 3]`.

    A class or function that needs other packages has an attribute `requires`: by the name of each
    module, what `pip install` installs, as in `{"mlflow": "hieraseg[mlflow]"}`. A recipe that names
    it is refused where one is missing.
    """

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Log the settings of the recipe by dotted key: numbers, strings, booleans."""
        ...

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log numbers by name, as in `miou/val_level_1`, after a number of optimizer steps."""
        ...

    def finalize(self, status: str) -> None:
        """End: write what is not yet written. The status is `success`, `failed` or `aborted`."""
        ...


def why_not_capturable(component: Any) -> str | None:
    """Why a component cannot be part of a captured training step; None if it can.

    Args:
        component: its class or function, or what that builds.
    """
    if getattr(component, "capturable", True):
        return None
    return str(getattr(component, "capturable_reason", "")) or "it gives no reason"


def has_argument(component: Any, argument: str) -> bool:
    """Whether the signature of a class or function has an argument of this name."""
    return argument in signature(component).parameters
