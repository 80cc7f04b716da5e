"""Masks of a split at their own resolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int, UInt

from hieraseg.contracts import Dataset
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.decoding import decode_all
from hieraseg.data.images import VERSION
from hieraseg.data.joining import joined_ids, members_of, open_members
from hieraseg.data.stores.building import build, estimated_pixels
from hieraseg.data.stores.ragged import open_ragged, writing
from hieraseg.data.stores.rows import Damage, FromCache, FromFiles, Read, checksum, joined
from hieraseg.data.stores.store import Store, open_store
from hieraseg.files.paths import keep_working_directory
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Evaluation, Input

_MASKS = "masks.bin"


@dataclass(frozen=True)
class TargetStore:
    """Masks of different shapes.

    Attributes:
        ids: image ids, in the order of the data set.
        shapes: height and width of each mask, int64 `[N, 2]`.
        masks: reads a mask.
    """

    ids: list[str]
    shapes: Int[np.ndarray, "N 2"]
    masks: Read

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, row: int) -> UInt[np.ndarray, "H W"]:
        """A copy of the mask in a row, the same row as in the image store of the split."""
        return np.array(self.masks(row))


def open_scored(
    dataset: Dataset,
    split: str,
    hierarchy: Hierarchy,
    settings: Input,
    evaluation: Evaluation,
    code: str | Sequence[str] = "",
) -> tuple[Store, TargetStore | None]:
    """Open the images of a split for prediction, and the masks that predictions are scored with.

    Args:
        dataset: the data set.
        split: name of the split.
        hierarchy: the class tree.
        settings: how images are resized for prediction (see `shapes.evaluation_input`).
        evaluation: the protocol of the scores.
        code: see `store.open_store`.

    Returns:
        The images, and their masks at their own resolution; None to score with those of the store.
    """
    store = open_store(dataset, split, hierarchy, settings, code)
    if evaluation.resolution != "native":
        return store, None
    if settings.resize == "none":
        return store, TargetStore(store.ids, store.shapes, store.masks)
    return store, open_targets(dataset, split, hierarchy, code, settings.store)


@keep_working_directory()
def open_targets(
    dataset: Dataset,
    split: str,
    hierarchy: Hierarchy,
    code: str | Sequence[str] = "",
    store: Literal["auto", "decoded", "files"] = "auto",
) -> TargetStore:
    """Open the targets of a split, which are built on first use (see `store.open_store`).

    Args:
        dataset: the data set.
        split: name of the split.
        hierarchy: the class tree; masks are checked against its labels.
        code: digest of the data set's code and arguments (see `recipe.dataset`).
        store: whether decoded masks are kept in the cache (see `settings.Input`).

    Raises:
        DataError: masks that cannot be used, all of them at once; a cache that cannot be written.
    """

    def open_one(member: Dataset, code: str) -> TargetStore:
        return _open(member, split, hierarchy, code, Input(resize="none", store=store))

    members = members_of(dataset)
    if members is None:
        return open_one(dataset, str(code))
    opened = open_members(members, split, code, open_one)
    reads, sizes = [one.masks for one in opened.values()], [len(one) for one in opened.values()]
    shapes = np.concatenate([one.shapes for one in opened.values()])
    return TargetStore(joined_ids(opened), shapes, joined(reads, sizes))


def _open(
    dataset: Dataset, split: str, hierarchy: Hierarchy, code: str, settings: Input
) -> TargetStore:
    checked = CheckedDataset(dataset, hierarchy)
    ids, values = checked.ids(split), (checked.values, checked.void_value)

    def decode(row: int) -> UInt[np.ndarray, "H W"]:
        return np.ascontiguousarray(checked.mask(ids[row]))

    def write(folder: Path, keep: bool) -> dict[str, Any]:
        return _write(folder, decode, ids, split, keep)

    built = build(
        f"{split}-targets",
        (split, ids, checked.fingerprint(split), *values, VERSION, code),
        settings,
        f"{len(ids)} targets of split {split!r}",
        lambda: estimated_pixels(checked, ids, settings) * checked.mask_dtype.itemsize,
        write,
    )
    checksums = built.index["checksums"]
    mask: Read = FromFiles(decode, ids, checksums, built.folder)
    if built.is_decoded:
        ragged = open_ragged(built.folder / _MASKS, built.index["shapes"], checked.mask_dtype)
        mask = FromCache(ragged, checksums, mask, Damage(built.folder))
    return TargetStore(ids, built.index["shapes"], mask)


def _write(
    folder: Path, decode: Read, ids: Sequence[str], split: str, keep: bool
) -> dict[str, Any]:
    shapes, checksums = [], []
    with writing(*[folder / _MASKS] * keep) as append:
        for mask in decode_all(decode, ids, split):
            if keep:
                append(mask)
            shapes.append(mask.shape)
            checksums.append(checksum(mask))
    return {"shapes": np.array(shapes, np.int64), "checksums": np.array(checksums, np.uint32)}
