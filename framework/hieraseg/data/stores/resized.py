"""Decoding and resizing the images and masks of a split."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt, UInt8
from PIL import Image

from hieraseg.data.checking import CheckedDataset
from hieraseg.data.decoding import decode_all
from hieraseg.data.images import resize
from hieraseg.data.shapes import resized_shape
from hieraseg.data.stores.ragged import writing
from hieraseg.data.stores.rows import checksum
from hieraseg.settings import Input

IMAGES, MASKS = "images.bin", "masks.bin"


class Resized(NamedTuple):
    """An image and its mask after resizing.

    Attributes:
        image: RGB.
        mask: label values.
        checksums: of the image and of the mask.
        label_pixels: number of pixels of each label value, up to the largest one in the mask.
        digest: SHA-256 of the image and the mask before resizing.
    """

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt[np.ndarray, "h w"]
    checksums: tuple[int, int]
    label_pixels: Int[np.ndarray, " _"]
    digest: str


class ResizedSplit:
    """The images and masks of a split, decoded and resized. Methods are thread-safe.

    Args:
        dataset: the data set.
        split: name of the split.
        settings: how images are resized.

    Attributes:
        ids: ids of the split.
    """

    def __init__(self, dataset: CheckedDataset, split: str, settings: Input) -> None:
        self.dataset, self.split, self.settings = dataset, split, settings
        self.ids = dataset.ids(split)

    def image(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """Decode and resize an image."""
        return self._resize(self.dataset.image(self.ids[row]), Image.Resampling.BILINEAR)

    def mask(self, row: int) -> UInt[np.ndarray, "h w"]:
        """Decode and resize a mask."""
        return self._resize(self.dataset.mask(self.ids[row]), Image.Resampling.NEAREST)

    def pair(self, row: int) -> Resized:
        """Decode and resize an image and its mask, which must have the same size."""
        image, mask = self.dataset.pair(self.ids[row])
        # With the shape, because images of different shapes can have the same bytes.
        digest = hashlib.sha256(repr(mask.shape).encode())
        for pixels in (image, mask):
            digest.update(np.ascontiguousarray(pixels).data)
        image = self._resize(image, Image.Resampling.BILINEAR)
        mask = self._resize(mask, Image.Resampling.NEAREST)
        checksums = checksum(image), checksum(mask)
        return Resized(image, mask, checksums, np.bincount(mask.ravel()), digest.hexdigest())

    def write(self, folder: Path, keep: bool) -> dict[str, Any]:
        """Decode and resize everything.

        Args:
            folder: where images and masks are written.
            keep: whether they are written.

        Returns:
            Arrays by name: `shapes`, `image_checksums`, `mask_checksums`, `label_pixels`, and
            `fingerprint`.
        """
        shapes, checksums, digests = [], [], []
        label_pixels = np.zeros(256**self.dataset.mask_dtype.itemsize, np.int64)
        with writing(*(folder / one for one in (IMAGES, MASKS) if keep)) as append:
            for one in decode_all(self.pair, self.ids, self.split):
                if keep:
                    append(one.image, one.mask)
                shapes.append(one.mask.shape)
                checksums.append(one.checksums)
                digests.append(one.digest)
                label_pixels[: len(one.label_pixels)] += one.label_pixels
        image_checksums, mask_checksums = np.array(checksums, np.uint32).T
        content = "\n".join((*self.ids, *digests)).encode(errors="surrogateescape")
        return {
            "shapes": np.array(shapes, np.int64),
            "image_checksums": image_checksums,
            "mask_checksums": mask_checksums,
            "label_pixels": label_pixels,
            "fingerprint": hashlib.sha256(content).hexdigest(),
        }

    def _resize(
        self, pixels: UInt[np.ndarray, "H W *channels"], resampling: Image.Resampling
    ) -> UInt[np.ndarray, "h w *channels"]:
        size = resized_shape(pixels.shape, self.settings)
        return np.ascontiguousarray(resize(pixels, size, resampling))
