"""What a training step sees of the images of a store."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from hieraseg.contracts import Transform
from hieraseg.data.augmentation import transform
from hieraseg.data.batches import Batch, load
from hieraseg.data.store import Store
from hieraseg.data.stretching import Stretching
from hieraseg.draws import Draws
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Augmentation, Input


class Step(NamedTuple):
    """The images of this process in a training step.

    Attributes:
        rows: their rows in the store.
        draws: their random numbers.
    """

    rows: Int[Tensor, " B"]
    draws: Draws


@runtime_checkable
class View(Protocol):
    """How training sees a store: batches on the host, and their augmentation on the device."""

    def load(self, steps: Sequence[Step]) -> Iterator[Batch]:
        """Yield the batch of each step, read ahead of its use."""
        ...

    def augment(
        self, batch: Batch, draws: Draws
    ) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """Images of the input size, as float32 in 0..1, and their masks.

        Args:
            batch: the batch on the training device.
            draws: those of its step.
        """
        ...


class StretchedView:
    """Images that are resized to the input size, whatever their shape.

    Args:
        store: the images.
        settings: random changes.
        transforms: the transforms that the settings name.
        hierarchy: the class tree.
        device: the training device.
    """

    def __init__(
        self,
        store: Store,
        settings: Augmentation,
        transforms: Sequence[Transform],
        hierarchy: Hierarchy,
        device: torch.device,
    ) -> None:
        self.store, self.transforms, self.device = store, transforms, device
        self.geometry = Stretching(settings, hierarchy)

    def load(self, steps: Sequence[Step]) -> Iterator[Batch]:
        """See `View`."""
        return load(self.store, [step.rows for step in steps], self.device.type == "cuda")

    def augment(
        self, batch: Batch, draws: Draws
    ) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """See `View`."""
        images, masks = self.geometry(batch.images, batch.masks, draws)
        return transform(self.transforms, images, masks, draws)


def open_view(
    store: Store,
    settings: Input,
    augmentation: Augmentation,
    transforms: Sequence[Transform],
    hierarchy: Hierarchy,
    device: torch.device,
) -> View:
    """The view of a store that a recipe asks for."""
    if settings.resize != "stretch":
        raise NotImplementedError  # data/cropping.py
    return StretchedView(store, augmentation, transforms, hierarchy, device)
