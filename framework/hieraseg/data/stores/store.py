"""Images and masks of a split, resized by the recipe's section `input`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt, UInt8

from hieraseg.contracts import Dataset
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.images import VERSION
from hieraseg.data.joining import joined_ids, members_of, open_members, weighted_members
from hieraseg.data.stores.building import build, estimated_pixels
from hieraseg.data.stores.cache import folder_for
from hieraseg.data.stores.levels import open_levels, with_channels
from hieraseg.data.stores.ragged import open_ragged
from hieraseg.data.stores.resized import IMAGES, MASKS, ResizedSplit
from hieraseg.data.stores.rows import Damage, FromCache, FromFiles, Read, joined
from hieraseg.files.paths import keep_working_directory
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Input


@dataclass(frozen=True)
class Store:
    """A split as the model sees it. Several threads can read it.

    Attributes:
        ids: image ids, in the order of the data set.
        shapes: height and width of each image, int64 `[N, 2]`.
        label_pixels: number of pixels of each label value in all masks, int64 `[values]`.
        fingerprint: SHA-256 of the ids and of all images and masks before resizing.
        images: how an image is read, for each level.
        masks: how a mask is read.
        members: number of images and weight of each data set that is joined in this one, if they
            are sampled by weight; else empty.
        repeats: how often training draws each image, relative to the others (see `repeats`);
            None to draw all of them equally often.
    """

    ids: list[str]
    shapes: Int[np.ndarray, "N 2"]
    label_pixels: Int[np.ndarray, " values"]
    fingerprint: str
    images: tuple[Read, ...]
    masks: Read
    members: tuple[tuple[int, float], ...] = ()
    repeats: Float[np.ndarray, " N"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, row: int, level: int = 0) -> UInt8[np.ndarray, "H W 3"]:
        """RGB image of a row, read-only.

        Args:
            row: the row.
            level: 0 for the image itself; 1 for half, 2 for a quarter of its sides, rounded up,
                if the store was opened with `levels=3`.
        """
        return self.images[level](row)

    def mask(self, row: int) -> UInt[np.ndarray, "H W"]:
        """Label values of a row, read-only; uint16 if the hierarchy has values above 255."""
        return self.masks(row)


@keep_working_directory()
def open_store(
    dataset: Dataset,
    split: str,
    hierarchy: Hierarchy,
    settings: Input,
    code: str | Sequence[str] = "",
    levels: int = 1,
) -> Store:
    """Open the store of a split, which is built on first use.

    All images are decoded then, and all that cannot be used are found. Changed data, labels or
    code, or another way of resizing, get another store. Processes that open it at the same time
    build it once.

    It is found again by the ids, the data set's fingerprint and the code. What is compared then are
    the checksums of small files, and the sizes of large ones. The checksum of an image or mask is
    compared when it is first read; a damaged one is decoded again.

    Args:
        dataset: the data set. The members of a joined one have a store each.
        split: name of the split.
        hierarchy: the class tree; masks are checked against its labels.
        settings: how images are resized, and whether decoded ones are kept.
        code: digest of the data set's code and arguments, or those of its members (see
            `recipe.dataset`).
        levels: number of sizes at which images can be read, each half of the one before.

    Raises:
        DataError: images or masks that cannot be used, all of them at once; a cache that cannot
            be written.
    """

    def open_one(member: Dataset, code: str) -> Store:
        return _open(member, split, hierarchy, settings, code, levels)

    members = members_of(dataset)
    if members is None:
        return open_one(dataset, str(code))
    return _join(dataset, open_members(members, split, code, open_one))


def _open(
    dataset: Dataset, split: str, hierarchy: Hierarchy, settings: Input, code: str, levels: int
) -> Store:
    checked = CheckedDataset(dataset, hierarchy)
    resized = ResizedSplit(checked, split, settings)
    size = settings.size if settings.resize != "none" else ()
    fingerprint = checked.fingerprint(split)
    values = (checked.values, checked.void_value)
    key = (split, resized.ids, fingerprint, settings.resize, size, *values, VERSION, code)
    name = f"{split}-{settings.resize}" + (f"-{size[0]}x{size[1]}" if size else "")

    def estimate() -> int:
        channels = sum(3 / 4**level for level in range(levels)) + checked.mask_dtype.itemsize
        return int(estimated_pixels(checked, resized.ids, settings) * channels)

    content = f"{len(resized.ids)} images of split {split!r}"
    built = build(name, key, settings, content, estimate, resized.write)
    folder, index, shapes = built.folder, built.index, built.index["shapes"]
    image: Read = FromFiles(resized.image, resized.ids, index["image_checksums"], folder)
    mask: Read = FromFiles(resized.mask, resized.ids, index["mask_checksums"], folder)
    smaller = None
    if built.is_decoded:
        damage, smaller = Damage(folder), folder_for(f"{name}-smaller", (folder.name, levels))
        images = open_ragged(folder / IMAGES, with_channels(shapes), np.dtype(np.uint8))
        image = FromCache(images, index["image_checksums"], image, damage)
        masks = open_ragged(folder / MASKS, shapes, checked.mask_dtype)
        mask = FromCache(masks, index["mask_checksums"], mask, damage)
    return Store(
        ids=resized.ids,
        shapes=shapes,
        label_pixels=index["label_pixels"],
        fingerprint=str(index["fingerprint"]),
        images=open_levels(image, resized.ids, shapes, levels, split, smaller),
        masks=mask,
    )


def _join(dataset: Dataset, stores: dict[int, Store]) -> Store:
    """One store of those of the data sets that are joined in one, by their numbers."""
    parts = list(stores.values())
    sizes = [len(one) for one in parts]
    content = "\n".join(f"{number} {one.fingerprint}" for number, one in stores.items())
    return Store(
        ids=joined_ids(stores),
        shapes=np.concatenate([one.shapes for one in parts]),
        label_pixels=np.sum([one.label_pixels for one in parts], axis=0),
        fingerprint=hashlib.sha256(content.encode()).hexdigest(),
        images=tuple(
            joined(reads, sizes) for reads in zip(*(one.images for one in parts), strict=True)
        ),
        masks=joined([one.masks for one in parts], sizes),
        members=weighted_members(dataset, dict(zip(stores, sizes, strict=True))),
    )
