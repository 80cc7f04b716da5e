"""A data set cut down to its first images."""

from typing import Any

from hieraseg.contracts import Dataset


class FirstImages:
    """The first images of each split of a data set, which is else as it is.

    Args:
        dataset: the data set.
        images: how many of each split, at most.
    """

    def __init__(self, dataset: Dataset, images: int) -> None:
        self.dataset = dataset
        self.images = images

    def ids(self, split: str) -> list[str]:
        """The first ids of a split."""
        return self.dataset.ids(split)[: self.images]

    def fingerprint(self, split: str) -> str:
        """Another one than the whole split's."""
        return f"{self.dataset.fingerprint(split)}, the first {self.images}"

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.dataset, attribute)
