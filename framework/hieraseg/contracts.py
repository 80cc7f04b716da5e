"""What each kind of component must offer.

A component is a class or function found in a registry. Some of its arguments are supplied by the
runner (see `registry.kinds`), when its signature asks for them; the recipe supplies all others.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Activation = Literal["softmax", "sigmoid", "leaf_softmax", "sibling_softmax", "descendant_max"]
"""How logits become scores: `softmax` on each level; `sigmoid` on each class; `leaf_softmax`, where
a parent's score is the sum of its leaves'; `sibling_softmax`, where a softmax among siblings gives
the share of their parent's score; `descendant_max`, the highest sigmoid of a class and of those
below it."""


class Prediction(NamedTuple):
    """What a model answers.

    Attributes:
        logits: one float `[B, C_l, H, W]` per level, coarsest first; only the finest level's
            for a loss whose `levels` are the leaves.
        embedding: float `[B, D, h, w]`, or None where no loss asks for one.
    """

    logits: tuple[Float[Tensor, "B _ H W"], ...]
    embedding: Float[Tensor, "B D h w"] | None = None


class Loss(nn.Module):
    """Base of every loss: `(prediction, targets) -> named terms`; their sum is minimised.

    A subclass gets `hierarchy` from the runner if its `__init__` asks for it, `class_pixels`
    (float64 `[C_l]` per level, how many training pixels each class has) likewise, and in
    `forward` a third argument `progress` (0..1, the share of the training that is done) if it
    has one by that name. It may have buffers, but no parameters: what is learnt is part of the
    decoder. A batch with nothing to learn from gives a zero that has a graph.

    Attributes:
        levels: which logits it trains: of all levels, of the leaves only, or none, for a loss of
            the embedding alone, which makes sense inside another only.
        activation: how its logits become scores (see `Activation`).
        embedding_channels: D of the embedding it trains, which the decoder then has to offer;
            0 for none.
        standalone: whether it teaches the classes without another loss beside it.
    """

    levels: Literal["all", "leaves", "none"] = "all"
    activation: Activation = "softmax"
    embedding_channels: int = 0
    standalone: bool = True

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        raise NotImplementedError


@runtime_checkable
class Backbone(Protocol):
    """Image -> feature pyramid, finest first. A `torch.nn.Module`.

    Attributes:
        channels: channels of each feature map.
        strides: input pixels per pixel of each feature map, ascending.
        mean, std: of the images it was trained on (RGB in 0..1); the model normalises by them.
    """

    channels: list[int]
    strides: list[int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> Sequence[Float[Tensor, "B _ _ _"]]: ...


@runtime_checkable
class Decoder(Protocol):
    """Feature pyramid -> logits per level, at any stride. A `torch.nn.Module`.

    The runner supplies to its `__init__`, if it asks for them, `channels` and `strides` (the
    backbone's), `num_classes` (of each level to answer, coarsest first), `hierarchy`, and
    `embedding_channels` (D of the embedding to offer, 0 for none). A decoder that does not ask
    for the last offers no embedding.
    """

    def __call__(self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> Prediction: ...


@runtime_checkable
class Dataset(Protocol):
    """Images and label masks by id, read by several threads at once.

    The runner supplies `hierarchy` if its `__init__` asks for it.

    Attributes:
        size: height and width in pixels that images are resized to.
        splits: names of its splits; `train` and `val` are needed for training.
    """

    size: tuple[int, int]
    splits: tuple[str, ...]

    def ids(self, split: str) -> list[str]:
        """Ids of a split; an id is unique in the data set, and names its output files."""
        ...

    def image(self, id: str) -> UInt8[np.ndarray, "H W 3"]:
        """RGB image. Raises DataError, which names the file, where it cannot be read."""
        ...

    def mask(self, id: str) -> UInt8[np.ndarray, "H W"]:
        """Label values of the image's pixels. Raises DataError, as `image`."""
        ...

    def fingerprint(self, split: str) -> str:
        """A text, quick to get, that changes whenever the split's images or masks do."""
        ...


@runtime_checkable
class InferenceRule(Protocol):
    """Scores per level -> one class per level. The runner supplies `hierarchy` if it asks."""

    def __call__(
        self, scores: Sequence[Float[Tensor, "B _ H W"]]
    ) -> Int[Tensor, "B levels H W"]: ...


@runtime_checkable
class OptimizerFactory(Protocol):
    """The runner supplies `parameters`: trainable ones under `backbone` and `head`."""

    def __call__(self, parameters: dict[str, list[nn.Parameter]]) -> Optimizer: ...


@runtime_checkable
class ScheduleFactory(Protocol):
    """The runner supplies the arguments; the schedule is stepped after each training step."""

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LRScheduler: ...


def asks_for(component: Any, argument: str) -> bool:
    """Whether a component's signature has an argument of that name."""
    return argument in signature(component).parameters
