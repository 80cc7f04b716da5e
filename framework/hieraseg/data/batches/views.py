"""What a training step sees of the images of a store."""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from hieraseg.contracts import Transform
from hieraseg.data.batches.batch import Batch, load
from hieraseg.data.batches.cropping import Cropping, Crops, num_levels
from hieraseg.data.batches.resident import ResidentStore, fits
from hieraseg.data.batches.stretching import Stretching, swap_sides
from hieraseg.data.batches.warping import Frame, StoreSampler
from hieraseg.data.prefetch import prefetch
from hieraseg.data.stores.store import Store
from hieraseg.draws import Draws
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Augmentation, Input

_MOST_THREADS = 8  # each holds a batch in memory


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
        augmentation: random changes.
        transforms: the transforms that the settings name.
        hierarchy: the class tree.
        device: the training device.
    """

    def __init__(
        self,
        store: Store,
        augmentation: Augmentation,
        transforms: Sequence[Transform],
        hierarchy: Hierarchy,
        device: torch.device,
    ) -> None:
        self.store, self.transforms, self.device = store, transforms, device
        self.geometry = Stretching(augmentation, hierarchy)

    def load(self, steps: Sequence[Step]) -> Iterator[Batch]:
        """See `View`."""
        rows = [step.rows for step in steps]
        threads = min(torch.get_num_threads(), _MOST_THREADS)
        return load(self.store, rows, self.device.type == "cuda", threads)

    def augment(
        self, batch: Batch, draws: Draws
    ) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """See `View`."""
        images, masks = self.geometry(batch.images, batch.masks, draws)
        return transform(self.transforms, images, masks, draws)


class CroppedView:
    """Random crops of images that keep their aspect ratio.

    Threads draw and sample the crops of the next steps; on a CUDA device that has room for the
    whole store, crops are gathered from it there.

    Args:
        store: the images.
        settings: how images are resized; `size` is that of the crops.
        augmentation: random changes.
        transforms: the transforms that the settings name.
        hierarchy: the class tree.
        device: the training device.
        fill: color outside an image, RGB in 0..1; masks are void there.
    """

    def __init__(
        self,
        store: Store,
        settings: Input,
        augmentation: Augmentation,
        transforms: Sequence[Transform],
        hierarchy: Hierarchy,
        device: torch.device,
        fill: tuple[float, float, float],
    ) -> None:
        self.transforms, self.hierarchy, self.device = transforms, hierarchy, device
        self.cropping = Cropping(store, augmentation, settings.size, hierarchy)
        self.threads = min(torch.get_num_threads(), _MOST_THREADS)
        frame = Frame(settings.size, fill, hierarchy.void_value)
        levels = num_levels(settings, augmentation)
        self.sampler: StoreSampler | ResidentStore = StoreSampler(store, frame)
        if device.type == "cuda" and fits(store, levels, device):
            self.sampler = ResidentStore(store, frame, levels, device)

    def load(self, steps: Sequence[Step]) -> Iterator[Batch]:
        """See `View`. The images of a batch are crops already, float32 in 0..1."""
        if isinstance(self.sampler, ResidentStore):
            # Kernels are launched when a batch is needed, by the thread that trains.
            crops = prefetch(self._draw, steps, self.threads + 1, self.threads)
            return map(self._batch, steps, crops)
        return prefetch(self._draw_batch, steps, self.threads + 1, self.threads)

    def augment(
        self, batch: Batch, draws: Draws
    ) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """See `View`."""
        return transform(self.transforms, batch.images, batch.masks, draws)

    def _draw(self, step: Step) -> Crops:
        return self.cropping(step.rows, step.draws)

    def _batch(self, step: Step, crops: Crops) -> Batch:
        images, masks = self.sampler(step.rows, crops)
        if self.hierarchy.pairs:
            flipped = crops.flipped.to(masks.device, non_blocking=True)[:, None, None]
            masks = torch.where(flipped, swap_sides(masks, self.hierarchy), masks)
        return Batch(step.rows, images, masks)

    def _draw_batch(self, step: Step) -> Batch:
        batch = self._batch(step, self._draw(step))
        return batch.pin_memory() if self.device.type == "cuda" else batch


def open_view(
    store: Store,
    settings: Input,
    augmentation: Augmentation,
    transforms: Sequence[Transform],
    hierarchy: Hierarchy,
    device: torch.device,
    fill: tuple[float, float, float],
) -> View:
    """The view of a store that a recipe asks for (see `CroppedView`)."""
    if settings.resize == "stretch":
        return StretchedView(store, augmentation, transforms, hierarchy, device)
    return CroppedView(store, settings, augmentation, transforms, hierarchy, device, fill)


def transform(
    transforms: Sequence[Transform],
    images: Float[Tensor, "B 3 H W"],
    masks: Integer[Tensor, "B H W"],
    draws: Draws,
) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
    """Apply transforms one after the other (see `contracts.Transform`)."""
    return reduce(lambda pair, one: one(*pair, draws), transforms, (images, masks))
