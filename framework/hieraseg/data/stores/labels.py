"""Which labels the masks of a split have."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from hieraseg.console import log
from hieraseg.data.decoding import decode_all
from hieraseg.data.images import VERSION
from hieraseg.data.stores.building import read_index, write_index
from hieraseg.data.stores.cache import build_folder, folder_for
from hieraseg.data.stores.store import Store
from hieraseg.settings import Input


def labels_in(store: Store, split: str, settings: Input) -> Int[np.ndarray, "pairs 2"]:
    """Row and label value of each label that a mask has, once per mask, in their order.

    They are found on first use, and kept in the cache.

    Args:
        store: the store of the split.
        split: name of the split.
        settings: how its masks were resized.

    Raises:
        DataError: masks that cannot be read, or a cache that cannot be written.
    """
    size = settings.size if settings.resize != "none" else ()
    key = (store.fingerprint, settings.resize, size, VERSION)
    folder = folder_for(f"{split}-labels", key)
    build_folder(folder, lambda unfinished: _write(unfinished, store, split))
    return read_index(folder)["labels"].astype(np.int64)


def _write(folder: Path, store: Store, split: str) -> None:
    log(f"finding the labels of {len(store)} masks of split {split!r}, once")

    def find(row: int) -> Int[np.ndarray, "labels 2"]:
        values = np.flatnonzero(np.bincount(store.mask(row).ravel()))
        return np.column_stack([np.full_like(values, row), values])

    found = list(decode_all(find, store.ids, split))
    write_index(folder, {"labels": np.concatenate(found).astype(np.int32)})
