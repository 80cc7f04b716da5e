"""Several data sets as one."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from jaxtyping import UInt, UInt8

from hieraseg import Dataset
from hieraseg.errors import DataError
from hieraseg.types import ArgumentError, NonEmpty, PositiveFloat, check_arguments


@check_arguments
class Concat:
    """Several data sets as one, all labelled by one class tree.

    A split has the images of all data sets that have it. The id `7` of the second data set is
    `2/7`.

    Args:
        datasets: the data sets, each with a name and arguments as in the section `data`.
        weights: how often training takes images of each data set, relative to the others. Null to
            take all images equally often.

    Raises:
        ValueError: there is not one weight per data set.
    """

    def __init__(
        self,
        datasets: Annotated[Sequence[Dataset], NonEmpty()],
        weights: list[PositiveFloat] | None = None,
    ) -> None:
        if weights is not None and len(weights) != len(datasets):
            raise ArgumentError(
                "weights", f"must be one per data set, got {len(weights)} for {len(datasets)}"
            )
        self.datasets = list(datasets)
        self.weights = None if weights is None else list(weights)
        self.splits = tuple(dict.fromkeys(split for one in datasets for split in one.splits))

    def ids(self, split: str) -> list[str]:
        """Ids of a split, one data set after the other.

        Raises:
            DataError: no data set has the split, or one cannot be read.
        """
        return [
            f"{number}/{id}" for number, one in self._with(split).items() for id in one.ids(split)
        ]

    def image(self, id: str) -> UInt8[np.ndarray, "H W 3"]:
        """RGB image. Raises DataError if it cannot be read."""
        dataset, inner = self._find(id)
        return dataset.image(inner)

    def mask(self, id: str) -> UInt[np.ndarray, "H W"]:
        """Label values. Raises DataError if the file cannot be read."""
        dataset, inner = self._find(id)
        return dataset.mask(inner)

    def fingerprint(self, split: str) -> str:
        """The fingerprints of the data sets that have the split."""
        return " ".join(f"{n}: {one.fingerprint(split)}" for n, one in self._with(split).items())

    def _with(self, split: str) -> dict[int, Dataset]:
        """Number, from 1, and data set of those that have a split."""
        if split not in self.splits:
            raise DataError(f"no split {split!r}; the data sets have {', '.join(self.splits)}")
        return {n: one for n, one in enumerate(self.datasets, 1) if split in one.splits}

    def _find(self, id: str) -> tuple[Dataset, str]:
        number, _, inner = id.partition("/")
        if not number.isdecimal() or not 1 <= int(number) <= len(self.datasets):
            raise DataError(f"no image {id!r}; take an id from ids(split), as in '1/...'")
        return self.datasets[int(number) - 1], inner
