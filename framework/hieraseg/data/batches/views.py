"""What a training step sees of the images of a store."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Integer, Num, UInt8
from torch import Tensor

from hieraseg.contracts import Transform
from hieraseg.data.batches.batch import (
    Batch,
    CropBatch,
    Step,
    label_tensor,
    pinned,
    read_rows,
)
from hieraseg.data.batches.cropping import Cropping, num_levels
from hieraseg.data.batches.resident import ResidentStore, fits
from hieraseg.data.batches.stretching import Stretching, swap_sides
from hieraseg.data.batches.warping import Frame, StoreSampler
from hieraseg.data.prefetch import prefetch
from hieraseg.data.stores.store import Store
from hieraseg.draws import Draws, GivenDraws
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Augmentation, Input

_MOST_THREADS = 8  # each holds a batch in memory


@runtime_checkable
class View(Protocol):
    """How training sees a store: batches on the host, and their augmentation on the device."""

    def load(self, steps: Sequence[Step]) -> Iterator[Batch | CropBatch]:
        """Yield the batch of each step on the host, read ahead of its use."""
        ...

    def augment(
        self, batch: Batch | CropBatch
    ) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """Images of the input size, as float32 in 0..1, and their masks.

        A function of tensors on the training device, which reads nothing back.
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
        self.count = _numbers_drawn(self._augment, *read_rows(store, torch.zeros(1).long()))

    def load(self, steps: Sequence[Step]) -> Iterator[Batch]:
        """See `View`."""
        threads = min(torch.get_num_threads(), _MOST_THREADS)
        return prefetch(self._read, steps, threads + 1, threads)

    def augment(self, batch: Batch) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """See `View`."""
        return self._augment(batch.images, batch.masks, GivenDraws(batch.numbers))

    def _augment(
        self, images: UInt8[Tensor, "B 3 h w"], masks: Integer[Tensor, "B h w"], draws: Draws
    ) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        images, masks = self.geometry(images, masks, draws)
        return transform(self.transforms, images, masks, draws)

    def _read(self, step: Step) -> Batch:
        batch = Batch(*read_rows(self.store, step.rows), *step.draws.numbers(self.count))
        return pinned(batch) if self.device.type == "cuda" else batch


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
        images = torch.zeros(1, 3, *settings.size)
        masks = torch.zeros(1, *settings.size, dtype=label_tensor(store.mask(0)).dtype)
        self.count = _numbers_drawn(partial(transform, transforms), images, masks)

    def load(self, steps: Sequence[Step]) -> Iterator[Batch | CropBatch]:
        """See `View`. The images of a `Batch` are crops already, float32 in 0..1."""
        return prefetch(self._draw, steps, self.threads + 1, self.threads)

    def augment(
        self, batch: Batch | CropBatch
    ) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """See `View`."""
        if isinstance(batch, Batch):
            images, masks = batch.images, batch.masks
        else:
            assert isinstance(self.sampler, ResidentStore)
            images, masks = self.sampler.gather(batch.rows, batch.matrices, batch.levels)
            masks = self._mirrored(masks, batch.flipped)
        return transform(self.transforms, images, masks, GivenDraws(batch.numbers))

    def _draw(self, step: Step) -> Batch | CropBatch:
        crops = self.cropping(step.rows, step.draws)
        numbers = step.draws.numbers(self.count)
        batch: Batch | CropBatch
        if isinstance(self.sampler, ResidentStore):
            batch = CropBatch(step.rows, *crops, *numbers)
        else:
            images, masks = self.sampler(step.rows, crops)
            batch = Batch(images, self._mirrored(masks, crops.flipped), *numbers)
        return pinned(batch) if self.device.type == "cuda" else batch

    def _mirrored(
        self, masks: Integer[Tensor, "B h w"], flipped: Bool[Tensor, " B"]
    ) -> Integer[Tensor, "B h w"]:
        """Masks in which left and right labels are swapped where an image is flipped."""
        if not self.hierarchy.pairs:
            return masks
        return torch.where(flipped[:, None, None], swap_sides(masks, self.hierarchy), masks)


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


def _numbers_drawn(
    augment: Callable[[Tensor, Tensor, Draws], object],
    images: Num[Tensor, "B 3 H W"],
    masks: Integer[Tensor, "B H W"],
) -> int:
    """How many random numbers of each image an augmentation draws, which is the same each time."""
    draws = Draws(torch.Generator(), len(images))
    augment(images, masks, draws)
    return draws.taken
