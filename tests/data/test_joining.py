"""Several data sets as one: a store each, which are read one after the other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hieraseg.contracts import Dataset
from hieraseg.data.stores.store import Store, open_store
from hieraseg.data.stores.targets import open_scored, open_targets
from hieraseg.data.subset import FirstImages
from hieraseg.errors import DataError
from hieraseg.settings import Evaluation, Input
from tests.support.datasets import HIERARCHY, STRETCHED, FakeDataset


class Joined(FakeDataset):
    """Three data sets; the second one has no split `val`, the third one no split `train`."""

    def __init__(self, weights: list[float] | None = None, **third: Any) -> None:
        super().__init__()
        self.datasets = [
            FakeDataset(length=3, version="a"),
            FakeDataset(length=2, version="b", shape=(7, 5), splits=("train",)),
            FakeDataset(length=4, version="c", splits=("val",), **third),
        ]
        self.weights = weights


def open_joined(dataset: Any, split: str = "train", **others: Any) -> Store:
    return open_store(dataset, split, HIERARCHY, others.pop("settings", STRETCHED), **others)


def stores_in(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()}


@pytest.mark.parametrize("source", ["decoded", "files"])
def test_rows_are_those_of_the_members(source: Any) -> None:
    settings = Input(resize="none", store=source)
    dataset = Joined()
    store = open_joined(dataset, settings=settings, levels=2)
    assert store.ids == ["1/train0", "1/train1", "1/train2", "2/train0", "2/train1"]
    assert len(store) == 5
    members = [open_joined(one, settings=settings, levels=2) for one in dataset.datasets[:2]]
    rows = [(member, row) for member in members for row in range(len(member))]
    for row, (member, own) in enumerate(rows):
        np.testing.assert_array_equal(store.mask(row), member.mask(own))
        for level in range(2):
            np.testing.assert_array_equal(store.image(row, level), member.image(own, level))
        np.testing.assert_array_equal(store.shapes[row], member.shapes[own])
    np.testing.assert_array_equal(store.label_pixels, sum(one.label_pixels for one in members))


def test_members_share_their_stores_with_others(cache: Path) -> None:
    dataset = Joined()
    open_joined(dataset.datasets[1], code="second")
    (alone,) = stores_in(cache)
    open_joined(dataset, code=["first", "second", "third"])
    assert len(stores_in(cache)) == 2
    assert alone in stores_in(cache)
    open_joined(dataset, code="of all together")
    assert len(stores_in(cache)) == 4


def test_fingerprint_depends_on_all_members_and_their_order() -> None:
    dataset = Joined()
    first = open_joined(dataset).fingerprint
    dataset.datasets[0].version = "a touched file"
    assert open_joined(dataset).fingerprint == first
    dataset.datasets.reverse()
    other = open_joined(dataset).fingerprint
    dataset.datasets[1] = FakeDataset(length=1)
    assert len({first, other, open_joined(dataset).fingerprint}) == 3


def test_weights_are_those_of_the_members_with_the_split() -> None:
    assert open_joined(Joined()).members == ()
    dataset = Joined(weights=[1.0, 2.5, 4.0])
    assert open_joined(dataset).members == ((3, 1.0), (2, 2.5))
    assert open_joined(dataset, "val").members == ((3, 1.0), (4, 4.0))


def test_targets_of_members(cache: Path) -> None:
    dataset = Joined(shape=(3, 9))
    store, targets = open_scored(dataset, "val", HIERARCHY, STRETCHED, Evaluation())
    assert targets is not None
    expected = [f"{number}/val{i}" for number, count in ((1, 3), (3, 4)) for i in range(count)]
    assert targets.ids == store.ids == expected
    for row, id in enumerate(expected):
        number, _, own = id.partition("/")
        np.testing.assert_array_equal(
            targets.mask(row), dataset.datasets[int(number) - 1].mask(own)
        )


def test_problems_of_all_members_are_told() -> None:
    dataset = Joined()
    for member in dataset.datasets[:2]:
        member.masks["train1"] = np.full(member.shape, 9, np.uint8)
    with pytest.raises(DataError) as caught:
        open_joined(dataset)
    lines = str(caught.value).splitlines()
    assert [line.partition(" the mask")[0] for line in lines] == [
        "data.datasets[0]: train1:",
        "data.datasets[1]: train1:",
    ]


def test_a_split_that_no_member_has() -> None:
    for open_any in (open_joined, lambda *given: open_targets(*given, HIERARCHY)):
        with pytest.raises(DataError, match=r"data\.datasets: none of them has the split 'test'"):
            open_any(Joined(), "test")


def test_first_images_of_members() -> None:
    dataset: Any = FirstImages(_as_dataset(Joined(weights=[1, 2, 3])), 4)
    store = open_joined(dataset)
    assert store.ids == ["1/train0", "1/train1", "2/train0", "2/train1"]
    assert store.members == ((2, 1), (2, 2))


def _as_dataset(dataset: Any) -> Dataset:
    return dataset  # type: ignore[no-any-return]
