"""What a training step sees of the images of a store."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial, reduce
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Integer, Num, UInt8
from torch import Tensor

from hieraseg.contracts import Transform
from hieraseg.data.batches.batch import (
    AnyBatch,
    Batch,
    CropBatch,
    RowBatch,
    Step,
    label_dtype,
    pinned,
    read_rows,
)
from hieraseg.data.batches.cropping import Cropping, num_levels
from hieraseg.data.batches.resident import ResidentStore, fits
from hieraseg.data.batches.stretching import Stretching, swap_sides
from hieraseg.data.batches.warping import Frame, StoreSampler
from hieraseg.data.prefetch import prefetch
from hieraseg.data.stores.store import Store
from hieraseg.draws import Draws
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Augmentation, Input

_MOST_THREADS = 8  # each holds a batch in memory

Read = TypeVar("Read", bound=AnyBatch)


@runtime_checkable
class View(Protocol):
    """How training sees a store: batches on the host, and their augmentation on the device."""

    def load(self, steps: Iterable[Step]) -> Iterator[AnyBatch]:
        """Yield the batch of each step on the host, read ahead of its use by threads."""
        ...

    def augment(self, batch: AnyBatch) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """Images of the input size, as float32 in 0..1, and their masks.

        A function of tensors on the training device, which reads nothing back.

        Args:
            batch: what `load` yields, on the device.
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
        resident: the store on the device; None if threads read each batch.
    """

    def __init__(
        self,
        store: Store,
        augmentation: Augmentation,
        transforms: Sequence[Transform],
        hierarchy: Hierarchy,
        device: torch.device,
        resident: ResidentStore | None = None,
    ) -> None:
        self.store, self.transforms, self.device = store, transforms, device
        self.resident = resident
        self.geometry = Stretching(augmentation, hierarchy)
        images, masks = read_rows(store, torch.zeros(1, dtype=torch.int64))
        self.count = _numbers_drawn(self._change, images.to(device), masks.to(device))

    def load(self, steps: Iterable[Step]) -> Iterator[Batch | RowBatch]:
        """See `View`."""
        return _read_ahead(self._read, steps, self.device)

    def augment(self, batch: AnyBatch) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """See `View`."""
        if isinstance(batch, Batch):
            images, masks = batch.images, batch.masks
        else:
            assert self.resident is not None
            images, masks = self.resident.whole(batch.rows)
        return self._change(images, masks, Draws.given(batch.numbers))

    def _change(
        self, images: UInt8[Tensor, "B 3 h w"], masks: Integer[Tensor, "B h w"], draws: Draws
    ) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        images, masks = self.geometry(images, masks, draws)
        return transform(self.transforms, images, masks, draws)

    def _read(self, step: Step) -> Batch | RowBatch:
        numbers = step.draws.numbers(self.count)
        if self.resident is not None:
            return RowBatch(step.rows, *numbers)
        return Batch(*read_rows(self.store, step.rows), *numbers)


class CroppedView:
    """Random crops of images that keep their aspect ratio.

    Threads draw where the crops of the next steps are, and sample them unless the store is on the
    device.

    Args:
        store: the images.
        augmentation: random changes.
        transforms: the transforms that the settings name.
        hierarchy: the class tree.
        device: the training device.
        frame: size of the crops, and what they show outside an image.
        resident: the store on the device; None if threads sample the crops.
    """

    def __init__(
        self,
        store: Store,
        augmentation: Augmentation,
        transforms: Sequence[Transform],
        hierarchy: Hierarchy,
        device: torch.device,
        frame: Frame,
        resident: ResidentStore | None = None,
    ) -> None:
        self.transforms, self.hierarchy, self.device = transforms, hierarchy, device
        self.frame, self.resident = frame, resident
        self.cropping = Cropping(store, augmentation, frame.size, hierarchy)
        self.sampler = StoreSampler(store, frame)
        images = torch.zeros(1, 3, *frame.size, device=device)
        masks = torch.zeros(1, *frame.size, dtype=label_dtype(store), device=device)
        self.count = _numbers_drawn(partial(transform, transforms), images, masks)

    def load(self, steps: Iterable[Step]) -> Iterator[Batch | CropBatch]:
        """See `View`. The images of a `Batch` are crops already, float32 in 0..1."""
        return _read_ahead(self._read, steps, self.device)

    def augment(self, batch: AnyBatch) -> tuple[Float[Tensor, "B 3 h w"], Integer[Tensor, "B h w"]]:
        """See `View`."""
        if isinstance(batch, Batch):
            images, masks = batch.images, batch.masks
        else:
            assert isinstance(batch, CropBatch)
            assert self.resident is not None
            crops = batch.rows, batch.matrices, batch.levels
            images, masks = self.resident.crops(*crops, self.frame)
            masks = self._mirrored(masks, batch.flipped)
        return transform(self.transforms, images, masks, Draws.given(batch.numbers))

    def _read(self, step: Step) -> Batch | CropBatch:
        crops = self.cropping(step.rows, step.draws)
        numbers = step.draws.numbers(self.count)
        if self.resident is not None:
            return CropBatch(step.rows, *crops, *numbers)
        images, masks = self.sampler(step.rows, crops)
        return Batch(images, self._mirrored(masks, crops.flipped), *numbers)

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
    """The view of a store that a recipe asks for.

    The whole store is copied to a CUDA device that has room for it.

    Args:
        store: the images.
        settings: how images are resized; `size` is that of the crops.
        augmentation: random changes.
        transforms: the transforms that the settings name.
        hierarchy: the class tree.
        device: the training device.
        fill: color outside an image, RGB in 0..1; masks are void there.
    """
    levels = num_levels(settings, augmentation)
    resident = ResidentStore(store, levels, device) if fits(store, levels, device) else None
    if settings.resize == "stretch":
        return StretchedView(store, augmentation, transforms, hierarchy, device, resident)
    frame = Frame(settings.size, fill, hierarchy.void_value)
    return CroppedView(store, augmentation, transforms, hierarchy, device, frame, resident)


def transform(
    transforms: Sequence[Transform],
    images: Float[Tensor, "B 3 H W"],
    masks: Integer[Tensor, "B H W"],
    draws: Draws,
) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
    """Apply transforms one after the other (see `contracts.Transform`)."""
    return reduce(lambda pair, one: one(*pair, draws), transforms, (images, masks))


def _read_ahead(
    read: Callable[[Step], Read], steps: Iterable[Step], device: torch.device
) -> Iterator[Read]:
    """Batches that threads read ahead, pinned for copies to a CUDA device."""
    threads = min(torch.get_num_threads(), _MOST_THREADS)
    return prefetch(lambda step: pinned(read(step), device), steps, threads + 1, threads)


def _numbers_drawn(
    change: Callable[[Tensor, Tensor, Draws], object],
    images: Num[Tensor, "B 3 H W"],
    masks: Integer[Tensor, "B H W"],
) -> int:
    """How many random numbers of each image a change draws, which is the same each time.

    On the training device, where tables of labels are then kept before the first step.
    """
    draws = Draws(torch.Generator(), len(images), device=images.device)
    change(images, masks, draws)
    return draws.taken
