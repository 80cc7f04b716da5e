"""Images and masks of a split at the model's input size, decoded once and memory-mapped."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image

from hieraseg.contracts import Dataset
from hieraseg.data.cache import cached_folder, create_array, open_array
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.decoding import decode_all
from hieraseg.data.images import VERSION, resize
from hieraseg.files.paths import keep_working_directory
from hieraseg.hierarchy import Hierarchy

FORMAT = 3  # part of the key: increase it when the content of a store changes


@dataclass(frozen=True)
class Store:
    """A split at the model's input size.

    Attributes:
        ids: image ids, in the order of the data set.
        images: RGB, uint8 `[N, H, W, 3]`, memory-mapped and read-only.
        masks: label values, uint8 `[N, H, W]`, or uint16 if the hierarchy has values above 255,
            memory-mapped and read-only.
        fingerprint: SHA-256 of the ids and of all images and masks before resizing.
    """

    ids: list[str]
    images: UInt8[np.ndarray, "N H W 3"]
    masks: UInt[np.ndarray, "N H W"]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.ids)


@keep_working_directory()
def open_store(dataset: Dataset, split: str, hierarchy: Hierarchy, code: str = "") -> Store:
    """Open the store of a split, which is built on first use.

    Changed data, labels or code, or another input size, get another store. A damaged store is
    built again. Processes that open it at the same time build it once.

    Args:
        dataset: the data set.
        split: name of the split.
        hierarchy: the class tree; masks are checked against its labels.
        code: digest of the data set's code and arguments (see `recipe.dataset`).

    Raises:
        DataError: images or masks that cannot be used, all of them at once; a cache that cannot
            be written.
    """
    height, width = dataset.size
    checked = CheckedDataset(dataset, hierarchy)
    ids, fingerprint = checked.ids(split), checked.fingerprint(split)
    key = (FORMAT, VERSION, split, ids, fingerprint, height, width, checked.values, code)

    def write(folder: Path) -> None:
        index = _write_arrays(folder, checked, split, ids, (height, width))
        (folder / "index.json").write_text(json.dumps(index))

    folder = cached_folder(f"{split}-{height}x{width}", key, write)
    index = json.loads((folder / "index.json").read_text())
    return Store(
        ids=index["ids"],
        images=open_array(folder / "images.npy"),
        masks=open_array(folder / "masks.npy"),
        fingerprint=index["fingerprint"],
    )


def _write_arrays(
    folder: Path, dataset: CheckedDataset, split: str, ids: list[str], size: tuple[int, int]
) -> dict[str, str | list[str]]:
    """Write `images.npy` and `masks.npy`; return the content of `index.json`."""
    images = create_array(folder / "images.npy", (len(ids), *size, 3), np.dtype(np.uint8))
    masks = create_array(folder / "masks.npy", (len(ids), *size), dataset.mask_dtype)

    def decode(row: int) -> str:
        image, mask = dataset.pair(ids[row])
        images[row] = resize(image, size, Image.Resampling.BILINEAR)
        masks[row] = resize(mask, size, Image.Resampling.NEAREST)
        # With the shape, because images of different shapes can have the same bytes.
        pixels = repr(mask.shape).encode() + image.tobytes() + mask.tobytes()
        return hashlib.sha256(pixels).hexdigest()

    digests = list(decode_all(decode, ids, split, "images"))
    content = "\n".join((*ids, *digests)).encode(errors="surrogateescape")
    return {"ids": ids, "fingerprint": hashlib.sha256(content).hexdigest()}
