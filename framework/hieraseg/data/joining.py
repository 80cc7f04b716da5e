"""Splits of several data sets, joined into one.

Ids of the first data set get the prefix `1/`, those of the second one `2/`, and so on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from hieraseg.contracts import Dataset
from hieraseg.errors import DataError

Opened = TypeVar("Opened")


def members_of(dataset: Dataset) -> list[Dataset] | None:
    """The data sets that are joined in one (see `contracts.Dataset`), or None if it is none."""
    members: list[Dataset] | None = getattr(dataset, "datasets", None)
    return members


def weighted_members(dataset: Dataset, sizes: Mapping[int, int]) -> tuple[tuple[int, float], ...]:
    """Number of images and weight of each joined data set that has a split.

    Args:
        dataset: the data set that joins them.
        sizes: number of images by the number of the data set, from 1.

    Returns:
        Nothing if every image is used once (see `sampling.training_order`).
    """
    weights: Sequence[float] | None = getattr(dataset, "weights", None)
    if weights is None:
        return ()
    return tuple((size, weights[number - 1]) for number, size in sizes.items())


def open_members(
    members: Sequence[Dataset],
    split: str,
    code: str | Sequence[str],
    open_one: Callable[[Dataset, str], Opened],
) -> dict[int, Opened]:
    """Open a split of all data sets that have it.

    Args:
        members: the data sets.
        split: name of the split.
        code: digest of the code and arguments of each of them, or of all together.
        open_one: opens the split of a data set, whose digest is the second argument.

    Returns:
        What was opened, by the number of its data set, from 1.

    Raises:
        DataError: no data set has the split, or raised by `open_one` for any of them.
    """
    opened, problems = {}, []
    for index, member in enumerate(members):
        if split in member.splits:
            try:
                own = code if isinstance(code, str) else code[index]
                opened[index + 1] = open_one(member, own)
            except DataError as error:
                problems.append(f"data.datasets[{index}]: {error}")
    if problems:
        raise DataError("\n".join(problems))
    if not opened:
        raise DataError(f"data.datasets: none of them has the split {split!r}")
    return opened


def joined_ids(opened: dict[int, Any]) -> list[str]:
    """Ids of what was opened by `open_members`, with the number of their data set."""
    return [f"{number}/{id}" for number, one in opened.items() for id in one.ids]
