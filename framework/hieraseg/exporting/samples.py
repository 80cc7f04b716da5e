"""Images to compare an exported file with its model on."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hieraseg.console import log
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.finding import find_images
from hieraseg.data.images import read_image, resize
from hieraseg.errors import HierasegError
from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe import Recipe
from hieraseg.recipe.dataset import build_dataset
from hieraseg.runs.figures import spread_rows
from hieraseg.settings import Input

COUNT = 4
Item = TypeVar("Item")
Pixels = UInt8[np.ndarray, "_ _ 3"]


class Samples(NamedTuple):
    """A few images.

    Attributes:
        images: RGB at their own size.
        source: where they are from: a split, `--images`, or noise.
    """

    images: list[Pixels]
    source: str


def sample_images(recipe: Recipe, hierarchy: Hierarchy, given: Sequence[str | Path]) -> Samples:
    """Read a few images; those of the run, or noise if its data is not there.

    Args:
        recipe: the run's recipe, whose validation split is read unless images are given.
        hierarchy: the class tree.
        given: image files or folders.

    Raises:
        DataError: a given image cannot be read.
    """
    if given:
        files, _ = find_images(given, excluded=Path())
        return Samples([read_image(file.path) for file in _spread(files)], "--images")
    try:
        dataset = CheckedDataset(build_dataset(recipe, hierarchy), hierarchy)
        return Samples([dataset.image(id) for id in _spread(dataset.ids("val"))], "val")
    except HierasegError as error:
        log(f"comparing on noise, since the run's data cannot be read ({error}); see --images")
        return Samples([_noise(recipe.input, seed) for seed in range(COUNT)], "noise")


def _spread(items: Sequence[Item]) -> list[Item]:
    return [items[row] for row in spread_rows(len(items), COUNT)]


def _noise(settings: Input, seed: int) -> Pixels:
    """Random colors of a few pixels' size."""
    height, width = settings.size
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return resize(coarse, (height + 9 * seed, width + 5 * seed), Image.Resampling.BILINEAR)
