"""Some images of a data set."""

from collections.abc import Sequence
from typing import Any

from hieraseg.contracts import Dataset


class FirstImages:
    """A data set reduced to the first images of each split.

    Args:
        dataset: the data set.
        images: maximum number of images per split.
    """

    def __init__(self, dataset: Dataset, images: int) -> None:
        self.dataset = dataset
        self.images = images
        # From Python 3.12 on, protocols do not see what only `__getattr__` finds.
        self.splits, self.image, self.mask = dataset.splits, dataset.image, dataset.mask

    def ids(self, split: str) -> Any:
        """The first ids of a split, or what it has instead of a list of ids."""
        ids: Any = self.dataset.ids(split)
        return ids[: self.images] if isinstance(ids, list | tuple) else ids

    def fingerprint(self, split: str) -> str:
        """The data set's fingerprint, with the number of images."""
        return f"{self.dataset.fingerprint(split)}, the first {self.images}"

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self.dataset, attribute)
        if attribute == "datasets":  # of a joined data set: the first images of each member
            return [FirstImages(one, -(-self.images // len(found))) for one in found]
        return found


class ChosenImages:
    """A data set reduced to some images, whatever the split. A joined one is a plain one then.

    Args:
        dataset: the data set.
        ids: ids of the images.
    """

    def __init__(self, dataset: Dataset, ids: Sequence[str]) -> None:
        self.dataset = dataset
        self.splits = dataset.splits
        self.image = dataset.image
        self.mask = dataset.mask
        self.fingerprint = dataset.fingerprint
        self._ids = list(ids)

    def ids(self, split: str) -> list[str]:
        """The chosen ids."""
        return self._ids.copy()


def unwrapped(dataset: Dataset) -> Dataset:
    """The whole data set."""
    return dataset.dataset if isinstance(dataset, FirstImages | ChosenImages) else dataset
