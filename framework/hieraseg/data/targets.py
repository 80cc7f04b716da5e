"""Masks of a split at their own resolution, decoded once and memory-mapped."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt

from hieraseg.contracts import Dataset
from hieraseg.data.cache import cached_folder
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.decoding import decode_all
from hieraseg.data.images import VERSION
from hieraseg.files.paths import keep_working_directory
from hieraseg.hierarchy import Hierarchy

FORMAT = 2  # part of the key: increase it when the content of a store changes


@dataclass(frozen=True)
class TargetStore:
    """Masks of different shapes, one after the other.

    Attributes:
        ids: image ids, in the order of the data set.
        pixels: label values, uint8 `[P]`, or uint16 if the hierarchy has values above 255,
            memory-mapped and read-only.
        shapes: height and width of each mask, int64 `[N, 2]`.
        offsets: where each mask starts in `pixels`, and where the last one ends, int64 `[N + 1]`.
    """

    ids: list[str]
    pixels: UInt[np.ndarray, " P"]
    shapes: Int[np.ndarray, "N 2"]
    offsets: Int[np.ndarray, " N+1"]

    def __len__(self) -> int:
        return len(self.shapes)

    def mask(self, row: int) -> UInt[np.ndarray, "H W"]:
        """A copy of the mask in a row, the same row as in the image store of the split."""
        start, end = self.offsets[row : row + 2]
        return np.array(self.pixels[start:end]).reshape(self.shapes[row])


@keep_working_directory()
def open_targets(dataset: Dataset, split: str, hierarchy: Hierarchy, code: str = "") -> TargetStore:
    """Open the targets of a split, which are stored on first use (see `store.open_store`).

    Args:
        dataset: the data set.
        split: name of the split.
        hierarchy: the class tree; masks are checked against its labels.
        code: digest of the data set's code and arguments (see `recipe.dataset`).

    Raises:
        DataError: masks that cannot be used, all of them at once; a cache that cannot be written.
    """
    checked = CheckedDataset(dataset, hierarchy)
    ids = checked.ids(split)
    key = (FORMAT, VERSION, split, ids, checked.fingerprint(split), checked.values, code)

    def write(folder: Path) -> None:
        shapes = []

        def decode(row: int) -> UInt[np.ndarray, "H W"]:
            return checked.mask(ids[row])

        with (folder / "pixels.bin").open("wb") as file:
            for mask in decode_all(decode, ids, split, "targets"):
                file.write(mask.tobytes())
                shapes.append(mask.shape)
        np.save(folder / "shapes.npy", np.array(shapes, np.int64))

    folder = cached_folder(f"{split}-targets", key, write)
    shapes = np.load(folder / "shapes.npy", allow_pickle=False)
    return TargetStore(
        ids=ids,
        pixels=np.memmap(folder / "pixels.bin", checked.mask_dtype, "r"),
        shapes=shapes,
        offsets=np.concatenate([[0], shapes.prod(1).cumsum()]),
    )
