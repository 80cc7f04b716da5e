"""Masks of a split at their own resolution, decoded once and memory-mapped."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from hieraseg.contracts import Dataset
from hieraseg.data.cache import cached_folder
from hieraseg.data.decoding import checked_mask, decode_all, known_labels
from hieraseg.hierarchy import Hierarchy

FORMAT = 1  # part of the key: increase it when the content of a store changes


@dataclass(frozen=True)
class TargetStore:
    """Masks of different shapes, one after the other.

    Attributes:
        pixels: label values, uint8 `[P]`, memory-mapped and read-only.
        shapes: height and width of each mask, int64 `[N, 2]`.
        offsets: where each mask starts in `pixels`, and where the last one ends, int64 `[N + 1]`.
    """

    pixels: UInt8[np.ndarray, " P"]
    shapes: Int[np.ndarray, "N 2"]
    offsets: Int[np.ndarray, " N+1"]

    def __len__(self) -> int:
        return len(self.shapes)

    def mask(self, row: int) -> UInt8[np.ndarray, "H W"]:
        """A copy of the mask in a row, the same row as in the image store of the split."""
        start, end = self.offsets[row : row + 2]
        return np.array(self.pixels[start:end]).reshape(self.shapes[row])


def open_targets(dataset: Dataset, split: str, hierarchy: Hierarchy, code: str = "") -> TargetStore:
    """Open the targets of a split, which are stored on first use (see `store.open_store`).

    Args:
        dataset: the data set.
        split: name of the split.
        hierarchy: the class tree; masks are checked against its labels.
        code: digest of the data set's code if it comes from a plugin file, else empty.

    Raises:
        DataError: masks that cannot be used, all of them at once; a cache that cannot be written.
    """
    known = known_labels(hierarchy)
    key = (FORMAT, split, dataset.fingerprint(split), known, code)

    def write(folder: Path) -> None:
        ids, shapes = dataset.ids(split), []

        def decode(row: int) -> UInt8[np.ndarray, "H W"]:
            return checked_mask(dataset, ids[row], known)

        with (folder / "pixels.bin").open("wb") as file:
            for mask in decode_all(decode, ids, split, "targets"):
                file.write(np.asarray(mask, np.uint8).tobytes())
                shapes.append(mask.shape)
        np.save(folder / "shapes.npy", np.array(shapes, np.int64))

    folder = cached_folder(f"{split}-targets", key, write)
    shapes = np.load(folder / "shapes.npy", allow_pickle=False)
    return TargetStore(
        pixels=np.memmap(folder / "pixels.bin", np.uint8, "r"),
        shapes=shapes,
        offsets=np.concatenate([[0], shapes.prod(1).cumsum()]),
    )
