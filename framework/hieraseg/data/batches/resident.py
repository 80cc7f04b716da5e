"""A store in the memory of the training device."""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Integer, UInt8
from torch import Tensor

from hieraseg.data.batches.batch import label_dtype, label_tensor
from hieraseg.data.batches.gathering import gather_images, gather_masks
from hieraseg.data.batches.warping import Frame
from hieraseg.data.prefetch import prefetch
from hieraseg.data.stores.store import Store

_SHARE = 0.5  # of the free memory of a device; the rest is the model's


class ResidentStore:
    """All images and masks of a store on a device, from which batches are taken there.

    A step then moves nothing but a few numbers per image. Nothing is read from the device.

    Args:
        store: the images and masks, which are copied.
        levels: number of sizes of each image (see `cropping.num_levels`).
        device: the device.
    """

    def __init__(self, store: Store, levels: int, device: torch.device) -> None:
        shapes = torch.from_numpy(store.shapes)
        starts, end = _starts(3 * _areas(shapes, levels))
        mask_starts, mask_end = _starts(_areas(shapes, 1))
        self.pixels = torch.empty(end, dtype=torch.uint8, device=device)
        self.labels = torch.empty(mask_end, dtype=label_dtype(store), device=device)
        threads = torch.get_num_threads()
        read = prefetch(
            lambda row: _flat(store, row, levels), range(len(store)), 2 * threads, threads
        )
        for row, (pixels, labels) in enumerate(read):
            self.pixels[int(starts[row, 0]) :][: len(pixels)] = pixels
            self.labels[int(mask_starts[row, 0]) :][: len(labels)] = labels
        self.shape = tuple(store.shapes[0].tolist())
        self.shapes = shapes.to(device)
        self.starts, self.mask_starts = starts.to(device), mask_starts[:, 0].to(device)

    def whole(
        self, rows: Int[Tensor, " B"]
    ) -> tuple[UInt8[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Images, channels last in memory, and masks, of a store with one level and one shape.

        Args:
            rows: rows of the images, on the device.
        """
        images = self.pixels.view(-1, *self.shape, 3)[rows]
        return images.permute(0, 3, 1, 2), self.labels.view(-1, *self.shape)[rows]

    def crops(
        self,
        rows: Int[Tensor, " B"],
        matrices: Float64[Tensor, "B 2 3"],
        levels: Float[Tensor, " B"],
        frame: Frame,
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Crops of images, in 0..1, and of their masks.

        Args:
            rows: rows of the images, on the device as all arguments.
            matrices, levels: the part of each image (see `cropping.Crops`).
            frame: size of the crops, and what is outside.
        """
        shapes, starts, mask_starts = self.shapes[rows], self.starts[rows], self.mask_starts[rows]
        images = gather_images(self.pixels, starts, shapes, matrices, levels, frame)
        return images, gather_masks(self.labels, mask_starts, shapes, matrices, frame)


def fits(store: Store, levels: int, device: torch.device) -> bool:
    """Whether a store fits into the memory of a CUDA device beside a model; never on a CPU."""
    if device.type != "cuda":
        return False
    shapes = torch.from_numpy(store.shapes)
    labels = label_dtype(store).itemsize * _areas(shapes, 1).sum()
    needed = 3 * _areas(shapes, levels).sum() + labels
    free, _ = torch.cuda.mem_get_info(device)
    return int(needed) <= _SHARE * free


def _flat(
    store: Store, row: int, levels: int
) -> tuple[UInt8[Tensor, " bytes"], Integer[Tensor, " pixels"]]:
    """Pixels of an image at all levels, one after the other, and of its mask."""
    images = [store.image(row, level).ravel() for level in range(levels)]
    mask = np.array(store.mask(row))
    return torch.from_numpy(np.concatenate(images)), label_tensor(mask).flatten()


def _areas(shapes: Int[Tensor, "N 2"], levels: int) -> Int[Tensor, "N levels"]:
    """Number of pixels of each image at each level, whose sides are rounded up."""
    return torch.stack([(-(-shapes >> level)).prod(1) for level in range(levels)], 1)


def _starts(lengths: Int[Tensor, "N levels"]) -> tuple[Int[Tensor, "N levels"], int]:
    """Where parts of these lengths start if they lie one after the other, and where they end."""
    ends = lengths.flatten().cumsum(0)
    return ends.view_as(lengths) - lengths, int(ends[-1])
