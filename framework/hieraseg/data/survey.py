"""Counts of the images and masks of a split, and all that is wrong with them."""

import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from hieraseg.console import progress
from hieraseg.data.checking import CheckedDataset, check_same_size
from hieraseg.data.decoding import decoding
from hieraseg.data.duplicates import Fingerprints, perceptual_hash, pixel_digest
from hieraseg.data.prefetch import prefetch
from hieraseg.errors import DataError
from hieraseg.hierarchy import IGNORE_INDEX, VOID, Hierarchy

_VALUES = np.iinfo(np.uint16).max + 1


class BadFile(NamedTuple):
    """What is wrong with the image or mask of an id, in one sentence."""

    id: str
    problem: str


@dataclass
class UnknownLabel:
    """A label value that the hierarchy does not have.

    Attributes:
        first: id of the first image that has it.
        pixels: number of pixels.
        images: number of images.
    """

    first: str
    pixels: int = 0
    images: int = 0


@dataclass
class LevelCounts:
    """Pixels and images of each class of a level.

    Attributes:
        pixels: number of pixels of each class, int64 `[C]`.
        images: number of images that have each class, int64 `[C]`.
        ignored_pixels: number of pixels that are void, or whose label names a class above.
    """

    pixels: Int[np.ndarray, " C"]
    images: Int[np.ndarray, " C"]
    ignored_pixels: int = 0


class LabelCounts:
    """Counts of the labels of a split, mask by mask.

    Attributes:
        levels: counts of each level, coarsest first.
        unknown: labels that the hierarchy does not have, by value.

    Args:
        values: the label values that a mask may have.
        hierarchy: the class tree.
    """

    def __init__(self, values: list[int], hierarchy: Hierarchy) -> None:
        self.levels = [
            LevelCounts(np.zeros(classes, np.int64), np.zeros(classes, np.int64))
            for classes in hierarchy.num_classes
        ]
        self.unknown: dict[int, UnknownLabel] = {}
        self._is_known = np.zeros(_VALUES, bool)
        self._is_known[[*values, VOID]] = True
        every_value = torch.arange(_VALUES).view(1, -1)
        self._classes = hierarchy.encode(every_value, check=False)[:, 0].numpy()

    @property
    def void_pixels(self) -> int:
        """Number of pixels that are ignored on all levels."""
        return self.levels[0].ignored_pixels

    @property
    def pixels(self) -> int:
        """Number of pixels without those of unknown labels."""
        return int(self.levels[0].pixels.sum()) + self.void_pixels

    def add(self, id: str, pixels: Int[np.ndarray, " values"]) -> None:
        """Add the number of pixels of each label value of a mask."""
        values = np.flatnonzero(pixels)
        for value in values[~self._is_known[values]].tolist():
            label = self.unknown.setdefault(value, UnknownLabel(id))
            label.pixels += int(pixels[value])
            label.images += 1
        values = values[self._is_known[values]]
        for counts, classes in zip(self.levels, self._classes[:, values], strict=True):
            valid = classes != IGNORE_INDEX
            np.add.at(counts.pixels, classes[valid], pixels[values[valid]])
            counts.images[np.unique(classes[valid])] += 1
            counts.ignored_pixels += int(pixels[values[~valid]].sum())


@dataclass(frozen=True)
class Survey:
    """What a split has.

    Attributes:
        images: number of ids.
        labels: counts of the masks that can be read.
        shapes: height and width of the images that can be read, int64 `[N, 2]`.
        brightest: highest pixel value of each of these, int64 `[N]`.
        fingerprints: what is known of their pixels.
        bad_files: images and masks that cannot be used.
    """

    images: int
    labels: LabelCounts
    shapes: Int[np.ndarray, "N 2"]
    brightest: Int[np.ndarray, " N"]
    fingerprints: Fingerprints
    bad_files: list[BadFile]


def survey_split(dataset: CheckedDataset, split: str, hierarchy: Hierarchy) -> Survey:
    """Read all images and masks of a split with several threads.

    Only the size, the highest value and the fingerprints of an image are kept.

    Raises:
        DataError: the split cannot be listed. What is wrong with its files is in the result.
    """
    ids = dataset.ids(split)
    dataset.fingerprint(split)
    labels, read, bad_files = LabelCounts(dataset.values, hierarchy), [], []
    threads = os.cpu_count() or 1
    found = prefetch(lambda id: _read(dataset, id), ids, 2 * threads, threads)
    for id, one in zip(ids, progress(found, f"reading {split}", len(ids)), strict=True):
        bad_files += [BadFile(id, problem) for problem in one.problems]
        if one.label_pixels is not None:
            labels.add(id, one.label_pixels)
        if one.image is not None:
            read.append((id, one.image))
    table = np.array([image for _, image in read], np.int64).reshape(-1, 5)
    fingerprints = Fingerprints([id for id, _ in read], table[:, 3], table[:, 4])
    return Survey(len(ids), labels, table[:, :2], table[:, 2], fingerprints, bad_files)


class _Image(NamedTuple):
    """What is kept of an image."""

    height: int
    width: int
    brightest: int
    digest: int
    hash: int


class _Files(NamedTuple):
    """What the image and the mask of an id are; None for one that cannot be read."""

    image: _Image | None
    label_pixels: Int[np.ndarray, " values"] | None
    problems: list[str]


def _read(dataset: CheckedDataset, id: str) -> _Files:
    """Read an image and its mask, and go on after what is wrong with either."""
    problems: list[str] = []
    facts = label_pixels = None
    try:
        with decoding(id):
            image = dataset.image(id)
            height, width, _ = image.shape
            brightest = int(image.max())
            facts = _Image(height, width, brightest, pixel_digest(image), perceptual_hash(image))
    except DataError as error:
        problems.append(_sentence(id, error))
    try:
        with decoding(id):
            mask = dataset.label_values(id)
            label_pixels = np.bincount(mask.ravel())
        if facts is not None:
            check_same_size(id, (facts.height, facts.width), mask.shape)
    except DataError as error:
        problems.append(_sentence(id, error))
    return _Files(facts, label_pixels, problems)


def _sentence(id: str, error: DataError) -> str:
    """An error as one line that starts with the id."""
    line = " ".join(str(error).split())
    return line if line.startswith(f"{id}:") else f"{id}: {line}"
