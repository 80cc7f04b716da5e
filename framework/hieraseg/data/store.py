"""Images and masks of one split, decoded and resized once into memory-mapped uint8 arrays."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import UInt8
from numpy.lib.format import open_memmap
from PIL import Image

from hieraseg.console import log, progress
from hieraseg.contracts import Dataset
from hieraseg.data.images import resize
from hieraseg.errors import DataError, first_few
from hieraseg.hierarchy import Hierarchy

FORMAT = 1  # part of the key: raise it when what a store holds changes


@dataclass(frozen=True)
class Store:
    """A split at the model's input size.

    Attributes:
        ids: id of each image, in the data set's order.
        images: RGB, uint8 `[N, H, W, 3]`, memory-mapped and read-only.
        masks: label values, uint8 `[N, H, W]`, memory-mapped and read-only.
        fingerprint: SHA-256 of the ids and of every image and mask before resizing.
    """

    ids: list[str]
    images: UInt8[np.ndarray, "N H W 3"]
    masks: UInt8[np.ndarray, "N H W"]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.ids)


def cache_folder() -> Path:
    """Where stores are kept: $HIERASEG_CACHE, else `hieraseg` in the user's cache folder."""
    own = os.environ.get("HIERASEG_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hieraseg"


def open_store(dataset: Dataset, split: str, hierarchy: Hierarchy, code: str = "") -> Store:
    """The split's store, built where it does not exist yet.

    The key is the data's fingerprint and the size, so changed data or another size give another
    store. One process builds while others wait; a killed build leaves nothing that is used.

    Args:
        dataset: where the images are.
        split: of the data set.
        hierarchy: the class tree, whose labels the masks are checked against.
        code: what the data set's own code is known by, if it may change as its data do.

    Raises:
        DataError: images or masks that cannot be used; all are read before it says which.
    """
    height, width = dataset.size
    # The labels are part of the key, since a store's masks were checked against them.
    known = sorted({*hierarchy.labels, *hierarchy.void})
    parts: tuple[Any, ...] = (FORMAT, split, dataset.fingerprint(split), height, width, known)
    if code:
        parts = (*parts, code)
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]
    folder = cache_folder() / f"{split}-{height}x{width}-{key}"
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not folder.exists():
                    _build(folder, dataset, split, known)
        except OSError as error:
            raise DataError(
                f"{folder.parent}: the image store cannot be written ({error}); "
                "set HIERASEG_CACHE to a folder with space"
            ) from error
    index = json.loads((folder / "index.json").read_text())
    return Store(
        ids=index["ids"],
        images=np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
        masks=np.load(folder / "masks.npy", mmap_mode="r", allow_pickle=False),
        fingerprint=index["fingerprint"],
    )


def _build(folder: Path, dataset: Dataset, split: str, known: Sequence[int]) -> None:
    """Write the store beside its place and move it there whole. The caller holds the lock."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a killed build
    unfinished.mkdir()
    try:
        index = _write(unfinished, dataset, split, known)
        (unfinished / "index.json").write_text(json.dumps(index))
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(
    folder: Path, dataset: Dataset, split: str, known: Sequence[int]
) -> dict[str, str | list[str]]:
    ids = dataset.ids(split)
    size = dataset.size
    log(f"preparing {len(ids)} images of split {split!r} in {folder.parent}, once")
    images = open_memmap(folder / "images.npy", "w+", np.uint8, (len(ids), *size, 3))
    masks = open_memmap(folder / "masks.npy", "w+", np.uint8, (len(ids), *size))
    for file in (folder / "images.npy", folder / "masks.npy"):
        _reserve(file)

    def decode(index: int) -> tuple[str, DataError | None]:
        """Digest of the pixels, or what is wrong with them."""
        try:
            image, mask = read_pair(dataset, ids[index], known)
        except DataError as error:
            return "", error
        except OSError as error:  # of a data set that does not say it better
            return "", DataError(f"{ids[index]}: cannot be read ({error})")
        images[index] = resize(image, size, Image.Resampling.BILINEAR)
        masks[index] = resize(mask, size, Image.Resampling.NEAREST)
        pixels = repr(mask.shape).encode() + image.tobytes() + mask.tobytes()
        return hashlib.sha256(pixels).hexdigest(), None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(decode, range(len(ids)))
        results = list(progress(decoded, f"preparing {split}", len(ids)))
    problems = [str(error) for _, error in results if error is not None]
    if problems:
        what = f"of {len(ids)} images of split {split!r} cannot be used"
        raise DataError(first_few(problems, what))
    digests = [digest for digest, _ in results]
    fingerprint = hashlib.sha256("\n".join((*ids, *digests)).encode()).hexdigest()
    return {"ids": ids, "fingerprint": fingerprint}


def _reserve(file: Path) -> None:
    """Claim a file's space now: on a full disk, a write to mapped memory kills the process."""
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def read_pair(
    dataset: Dataset, id: str, known: Sequence[int]
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """Image and mask of one id, checked against each other and against the label values.

    Raises:
        DataError: they differ in size, or the mask has a value that is not in `known`.
    """
    image, mask = dataset.image(id), dataset.mask(id)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{id}: the image is {image.shape[1]}x{image.shape[0]} pixels, but its mask is "
            f"{mask.shape[1]}x{mask.shape[0]}; export the mask again at the image's size"
        )
    unknown = sorted(set(np.unique(mask).tolist()) - set(known))
    if unknown:
        raise DataError(
            f"{id}: the mask has the label {unknown[0]}, which is not one of the labels "
            f"{', '.join(map(str, known))}; mend the mask, or add the label to the hierarchy"
        )
    return image, mask
