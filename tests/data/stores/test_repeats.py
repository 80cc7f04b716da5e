"""Drawing images with rare classes more often: factors by plain loops, and stores of both kinds."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hieraseg import Hierarchy
from hieraseg.data.stores.labels import labels_in
from hieraseg.data.stores.repeats import repeat_rare, repeats
from hieraseg.data.stores.store import Store, open_store
from hieraseg.settings import Input
from tests.support.datasets import HIERARCHY, FakeDataset

CLASSES = 4
IMAGES = st.lists(st.sets(st.integers(0, CLASSES - 1)), min_size=1, max_size=20)
"""The classes of each image."""
SETTINGS = Input(size=(2, 2), store="decoded")


def pairs_of(images: list[set[int]]) -> np.ndarray:
    pairs = [(row, index) for row, classes in enumerate(images) for index in sorted(classes)]
    return np.array(pairs, np.int64).reshape(-1, 2)


@given(IMAGES, st.floats(0.01, 1))
def test_published_equation(images: list[set[int]], threshold: float) -> None:
    """r_c = max(1, sqrt(t / f_c)), r_i = the maximum over the classes of an image (LVIS)."""
    share = [sum(index in one for one in images) / len(images) for index in range(CLASSES)]
    expected = [
        max([max(1, math.sqrt(threshold / share[index])) for index in one], default=1)
        for one in images
    ]
    found = repeats(pairs_of(images), len(images), CLASSES, threshold)
    assert found.factors.tolist() == pytest.approx(expected)
    if not any(images):
        assert found.rarest is None
        return
    assert found.rarest is not None
    assert found.share == share[found.rarest] == min(filter(None, share))
    having = [factor for factor, one in zip(expected, images, strict=True) if found.rarest in one]
    assert found.drawn == pytest.approx(sum(having) / sum(expected))


def test_by_hand() -> None:
    """Class 1 is in a quarter of 4 images: with threshold 1, that one counts sqrt(1 / .25) = 2."""
    found = repeats(pairs_of([{0}, {0, 1}, {0}, {0}]), 4, 2, 1.0)
    assert found.factors.tolist() == [1, 2, 1, 1]
    assert (found.rarest, found.share, found.drawn) == (1, 0.25, 0.4)


def masks(*labels: list[int]) -> dict[str, np.ndarray]:
    """Masks of two by two pixels."""
    return {f"train{row}": np.array(one, np.uint8).reshape(2, 2) for row, one in enumerate(labels)}


def open_train(dataset: FakeDataset, hierarchy: Hierarchy, settings: Input = SETTINGS) -> Store:
    return open_store(dataset, "train", hierarchy, settings)


@pytest.mark.parametrize("source", ["decoded", "files"])
def test_labels_are_found_once(source: str, cache: Path) -> None:
    dataset = FakeDataset(
        length=3, shape=(2, 2), masks=masks([0] * 4, [2, 0, 2, 255], [1, 2, 0, 0])
    )
    settings = Input(size=(2, 2), store=source)  # type: ignore[arg-type]
    store = open_train(dataset, HIERARCHY, settings)
    expected = [[0, 0], [1, 0], [1, 2], [1, 255], [2, 0], [2, 1], [2, 2]]
    assert labels_in(store, "train", settings).tolist() == expected
    calls = len(dataset.mask_calls)
    assert labels_in(store, "train", settings).tolist() == expected
    assert len(dataset.mask_calls) == calls
    # Other masks are other labels, also in a store from the same cache.
    changed = FakeDataset("2", 3, (2, 2), masks([1] * 4, [1] * 4, [1] * 4))
    assert labels_in(open_train(changed, HIERARCHY, settings), "train", settings).tolist() == [
        [0, 1],
        [1, 1],
        [2, 1],
    ]


def test_labels_are_those_after_resizing() -> None:
    """Of 8 by 8 pixels, one in the corner is not among the 2 by 2 that the model sees."""
    mask = np.zeros((8, 8), np.uint8)
    mask[0, 0] = 1
    dataset = FakeDataset(length=1, shape=(8, 8), masks={"train0": mask})
    whole = Input(resize="none")
    assert labels_in(open_train(dataset, HIERARCHY), "train", SETTINGS).tolist() == [[0, 0]]
    assert len(labels_in(open_train(dataset, HIERARCHY, whole), "train", whole)) == 2


def test_classes_are_those_of_the_finest_level_without_background(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Label 3 names `body`, so it is no class there; labels 2 and 4 are the same one."""
    hierarchy = Hierarchy.from_tree(
        {"background": None, "body": ["head", "leg"]},
        labels={0: "background", 1: "head", 2: "leg", 3: "body", 4: "leg"},
        void=[255],
        background="background",
    )
    of_images = ([1, 3, 3, 255], [1, 1, 1, 1], [1, 2, 4, 1], [0, 3, 1, 1], [1] * 4)
    store = open_train(FakeDataset(shape=(2, 2), masks=masks(*of_images)), hierarchy)
    found = repeat_rare(store, hierarchy, SETTINGS, 0.8).repeats
    assert found is not None
    assert found.tolist() == [1, 1, 2, 1, 1]  # sqrt(.8 / .2)
    error = capsys.readouterr().err
    assert (
        "up to 2.00 times as often as others: those with 'leg', the rarest class, are 33.33%"
        in (error)
    )
    assert "of the images drawn instead of 20.00% (training.repeat_threshold)" in error


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [1, 2, 0, 0],
            "0.5 has no effect, since 'head', the rarest class, is in 100.00% of the images",
        ),
        ([0, 0, 255, 0], "has no effect, since no image has a class other than background"),
    ],
)
def test_without_rare_classes_it_warns(
    labels: list[int], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hierarchy = Hierarchy.from_tree(
        {"background": None, "body": ["head", "leg"]},
        labels=["background", "head", "leg"],
        void=[255],
        background="background",
    )
    store = open_train(FakeDataset(shape=(2, 2), masks=masks(*[labels] * 5)), hierarchy)
    assert repeat_rare(store, hierarchy, SETTINGS, 0.5).repeats is None
    assert f"warning: training.repeat_threshold: {message}" in capsys.readouterr().err
