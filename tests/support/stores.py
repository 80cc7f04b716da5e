"""Stores in memory."""

from collections.abc import Sequence

import numpy as np

from hieraseg.data.stores.store import Store
from tests.support.sampling import pyramid


def memory_store(images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Store:
    """A store of images and masks, with the levels 0, 1 and 2."""
    levels = list(zip(*map(pyramid, images), strict=True))
    pixels = np.concatenate([mask.ravel() for mask in masks])
    return Store(
        ids=[str(row) for row in range(len(images))],
        shapes=np.array([mask.shape for mask in masks], np.int64),
        label_pixels=np.bincount(pixels, minlength=256),
        fingerprint="",
        images=tuple(level.__getitem__ for level in levels),
        masks=masks.__getitem__,
    )
