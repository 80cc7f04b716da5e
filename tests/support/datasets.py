"""A data set of random images that counts how often they are decoded."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hieraseg import Hierarchy
from hieraseg.data.stores.store import Store, open_store
from hieraseg.data.stores.targets import TargetStore, open_targets
from hieraseg.settings import Input

HIERARCHY = Hierarchy.from_tree(
    {"background": None, "body": ["head", "leg"]}, labels=["background", "head", "leg"], void=[255]
)

STRETCHED = Input(size=(6, 8))


@dataclass
class FakeDataset:
    """Random images and masks.

    Attributes:
        version: part of the fingerprint.
        length: number of images per split.
        shape: height and width of the images, or of each image in turn.
        masks: masks by id, instead of random ones.
        image_calls: ids that `image` was called with.
        mask_calls: ids that `mask` was called with.
    """

    version: str = "1"
    length: int = 5
    shape: tuple[int, int] | list[tuple[int, int]] = (12, 10)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    splits: tuple[str, ...] = ("train", "val")
    image_calls: list[str] = field(default_factory=list)
    mask_calls: list[str] = field(default_factory=list)

    def ids(self, split: str) -> list[str]:
        return [f"{split}{i}" for i in range(self.length)]

    def image(self, id: str) -> np.ndarray:
        self.image_calls.append(id)
        return _random(id).integers(0, 256, (*self.shape_of(id), 3), dtype=np.uint8)

    def mask(self, id: str) -> np.ndarray:
        self.mask_calls.append(id)
        labels = np.array([0, 1, 2, 255], np.uint8)
        return self.masks.get(id, _random(id).choice(labels, self.shape_of(id)))

    def fingerprint(self, split: str) -> str:
        return f"{split} {self.version}"

    def shape_of(self, id: str) -> tuple[int, int]:
        if isinstance(self.shape, tuple):
            return self.shape
        return self.shape[int(id[-1]) % len(self.shape)]


def _random(id: str) -> np.random.Generator:
    return np.random.default_rng(list(id.encode()))


def open_decoded(dataset: Any, split: str, hierarchy: Hierarchy, **others: Any) -> Store:
    """A store of decoded images."""
    return open_store(dataset, split, hierarchy, replace(STRETCHED, store="decoded"), **others)


def open_files(dataset: Any, split: str, hierarchy: Hierarchy, **others: Any) -> Store:
    """A store of images that are decoded whenever they are needed."""
    return open_store(dataset, split, hierarchy, replace(STRETCHED, store="files"), **others)


def open_masks(dataset: Any, split: str, hierarchy: Hierarchy, code: str = "") -> TargetStore:
    """A store of decoded targets."""
    return open_targets(dataset, split, hierarchy, code, "decoded")
