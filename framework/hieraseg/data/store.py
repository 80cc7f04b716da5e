"""Images and masks of a split, resized by the recipe's section `input`."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped, UInt, UInt8
from PIL import Image

from hieraseg.contracts import Dataset
from hieraseg.data.cache import cached_folder
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.decoding import decode_all
from hieraseg.data.images import VERSION, resize
from hieraseg.data.ragged import Ragged, open_ragged
from hieraseg.data.shapes import resized_shape
from hieraseg.files.paths import keep_working_directory
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Input

FORMAT = 4  # part of the key: increase it when the content of a store changes


@dataclass(frozen=True)
class Store:
    """A split as the model sees it.

    Attributes:
        ids: image ids, in the order of the data set.
        shapes: height and width of each image, int64 `[N, 2]`.
        label_pixels: number of pixels of each label value in all masks, int64 `[values]`.
        fingerprint: SHA-256 of the ids and of all images and masks before resizing.
    """

    ids: list[str]
    shapes: Int[np.ndarray, "N 2"]
    label_pixels: Int[np.ndarray, " values"]
    fingerprint: str
    images: Ragged
    masks: Ragged

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
        """RGB image of a row."""
        return self.images[row]

    def mask(self, row: int) -> UInt[np.ndarray, "H W"]:
        """Label values of a row, uint8, or uint16 if the hierarchy has values above 255."""
        return self.masks[row]


@keep_working_directory()
def open_store(
    dataset: Dataset, split: str, hierarchy: Hierarchy, settings: Input, code: str = ""
) -> Store:
    """Open the store of a split, which is built on first use.

    Changed data, labels or code, or another way of resizing, get another store. A damaged store is
    built again. Processes that open it at the same time build it once.

    Args:
        dataset: the data set.
        split: name of the split.
        hierarchy: the class tree; masks are checked against its labels.
        settings: how images are resized.
        code: digest of the data set's code and arguments (see `recipe.dataset`).

    Raises:
        DataError: images or masks that cannot be used, all of them at once; a cache that cannot
            be written.
    """
    size = settings.size if settings.resize != "none" else ()
    checked = CheckedDataset(dataset, hierarchy)
    ids, fingerprint = checked.ids(split), checked.fingerprint(split)
    key = (FORMAT, VERSION, split, ids, fingerprint, settings.resize, size, checked.values, code)

    def write(folder: Path) -> None:
        _write(folder, checked, split, ids, settings)

    name = "x".join(map(str, size)) or "own"
    folder = cached_folder(f"{split}-{settings.resize}-{name}", key, write)
    index = json.loads((folder / "index.json").read_text())
    shapes = np.load(folder / "shapes.npy", allow_pickle=False)
    colors = np.concatenate([shapes, np.full((len(shapes), 1), 3)], 1)
    return Store(
        ids=ids,
        shapes=shapes,
        label_pixels=np.load(folder / "label_pixels.npy", allow_pickle=False),
        fingerprint=index["fingerprint"],
        images=open_ragged(folder / "images.bin", colors, np.dtype(np.uint8)),
        masks=open_ragged(folder / "masks.bin", shapes, checked.mask_dtype),
    )


def _write(
    folder: Path, dataset: CheckedDataset, split: str, ids: list[str], settings: Input
) -> None:
    shapes, digests = [], []
    label_pixels = np.zeros(256**dataset.mask_dtype.itemsize, np.int64)

    def decode(row: int) -> tuple[Shaped[np.ndarray, "h w 3"], Shaped[np.ndarray, "h w"], str]:
        image, mask = dataset.pair(ids[row])
        size = resized_shape(mask.shape, settings)
        # With the shape, because images of different shapes can have the same bytes.
        pixels = repr(mask.shape).encode() + image.tobytes() + mask.tobytes()
        digest = hashlib.sha256(pixels).hexdigest()
        image = resize(image, size, Image.Resampling.BILINEAR)
        return image, resize(mask, size, Image.Resampling.NEAREST), digest

    with (folder / "images.bin").open("wb") as images, (folder / "masks.bin").open("wb") as masks:
        for image, mask, digest in decode_all(decode, ids, split, "images"):
            images.write(image.tobytes())
            masks.write(mask.tobytes())
            shapes.append(mask.shape)
            digests.append(digest)
            label_pixels += np.bincount(mask.ravel(), minlength=len(label_pixels))
    np.save(folder / "shapes.npy", np.array(shapes, np.int64))
    np.save(folder / "label_pixels.npy", label_pixels)
    content = "\n".join((*ids, *digests)).encode(errors="surrogateescape")
    index = {"fingerprint": hashlib.sha256(content).hexdigest()}
    (folder / "index.json").write_text(json.dumps(index))
