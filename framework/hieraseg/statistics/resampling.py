"""Random images: bootstrap samples of a split, and the images that two rows swap.

All draws are a function of the number of images. So all rows of a comparison are scored on the same
samples, and a comparison that is repeated gives the same numbers.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

_BLOCK = 2**20
"""Numbers that an array has at most while blocks are computed: 8 MiB of float64."""


def random(purpose: str) -> np.random.Generator:
    """Random numbers for a purpose, always the same."""
    return np.random.default_rng(list(purpose.encode()))


def bootstrap_weights(images: int, resamples: int) -> UInt8[np.ndarray, "resamples N"]:
    """How often each image is in each bootstrap sample: N images drawn with replacement.

    Args:
        images: N, the number of images.
        resamples: number of samples.
    """
    generator = random("bootstrap")
    weights = np.empty((resamples, images), np.uint8)
    for rows in blocks(resamples, images):
        drawn = generator.integers(images, size=weights[rows].shape)
        places = drawn + images * np.arange(len(drawn))[:, None]
        weights[rows] = np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return weights


def swaps(images: int, resamples: int) -> UInt8[np.ndarray, "resamples N"]:
    """1 for the images that are swapped, each with probability 1/2.

    Args:
        images: N, the number of images.
        resamples: number of draws.
    """
    return random("swaps").integers(2, size=(resamples, images), dtype=np.uint8)


def blocks(resamples: int, width: int) -> Iterator[slice]:
    """Parts of the resamples, so that arrays of `width` numbers for each have bounded memory."""
    step = max(1, _BLOCK // width)
    for start in range(0, resamples, step):
        yield slice(start, min(start + step, resamples))
