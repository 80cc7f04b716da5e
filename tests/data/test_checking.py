"""What data sets return is checked when it is used, whoever wrote them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hieraseg import Hierarchy
from hieraseg.data.checking import check_attributes, id_problem
from hieraseg.data.stores.targets import open_targets
from hieraseg.data.subset import FirstImages
from hieraseg.errors import DataError
from tests.support.datasets import HIERARCHY, FakeDataset, open_decoded

WIDE = Hierarchy.from_tree([f"c{i}" for i in range(301)], void=[65_535])


class Returning(FakeDataset):
    """Returns something else from one method, for its second id."""

    def __init__(self, method: str, value: Any) -> None:
        super().__init__()
        self.method, self.value = method, value

    def image(self, id: str) -> Any:
        found = super().image(id)
        return self.value if self.method == "image" and id == "train1" else found

    def mask(self, id: str) -> Any:
        found = super().mask(id)
        return self.value if self.method == "mask" and id == "train1" else found

    def ids(self, split: str) -> Any:
        return self.value if self.method == "ids" else super().ids(split)

    def fingerprint(self, split: str) -> Any:
        return self.value if self.method == "fingerprint" else super().fingerprint(split)


class Failing(FakeDataset):
    """Raises an error for its second image."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def image(self, id: str) -> np.ndarray:
        if id == "train1":
            raise self.error
        return super().image(id)


def message(dataset: Any, hierarchy: Hierarchy = HIERARCHY, open_any: Any = open_decoded) -> str:
    """The one sentence that a data set is refused with."""
    with pytest.raises(DataError) as caught:
        open_any(dataset, "train", hierarchy)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (None, "None"),
        ([[[1, 2, 3]]], "a list"),
        (Image.new("RGB", (10, 12)), "a Image"),
        (np.zeros((12, 10, 3), np.float32), "float32 [12, 10, 3]"),
        (np.zeros((12, 10, 3), np.int64), "int64 [12, 10, 3]"),
        (np.zeros((12, 10), np.uint8), "uint8 [12, 10]"),
        (np.zeros((12, 10, 4), np.uint8), "uint8 [12, 10, 4]"),
        (np.zeros((3, 12, 10), np.uint8), "uint8 [3, 12, 10]"),
        (np.zeros((0, 10, 3), np.uint8), "uint8 [0, 10, 3]"),
    ],
)
def test_images(value: Any, got: str) -> None:
    found = message(Returning("image", value))
    assert re.match(r"train1: Returning\.image \(.*test_checking\.py:\d+\): expected uint8", found)
    assert f"got {got}; return RGB pixels in 0..255" in found


@pytest.mark.parametrize("open_any", [open_decoded, open_targets])
@pytest.mark.parametrize(
    ("value", "got"),
    [
        (None, "None"),
        (np.zeros((12, 10)), "float64 [12, 10]"),
        (np.zeros((12, 10), np.int64), "int64 [12, 10]"),
        (np.zeros((12, 10), bool), "bool [12, 10]"),
        (np.zeros((12, 10, 1), np.uint8), "uint8 [12, 10, 1]"),
        (np.zeros((12, 0), np.uint8), "uint8 [12, 0]"),
    ],
)
def test_masks(open_any: Any, value: Any, got: str) -> None:
    found = message(Returning("mask", value), open_any=open_any)
    assert re.match(r"train1: Returning\.mask \(.*test_checking\.py:\d+\): expected uint8", found)
    assert f"got {got}; return label values" in found


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2"])
def test_masks_of_either_width_are_stored_without_loss(dtype: Any) -> None:
    mask = np.full((12, 10), 255, dtype)
    for hierarchy, width in ((HIERARCHY, np.uint8), (WIDE, np.uint16)):
        dataset = FakeDataset(masks={f"train{i}": mask for i in range(5)}, version=str(dtype))
        assert open_decoded(dataset, "train", hierarchy).mask(0).dtype == width
        targets = open_targets(dataset, "train", hierarchy)
        np.testing.assert_array_equal(targets.mask(3), mask)
        assert targets.mask(3).dtype == width


def test_labels_that_a_narrower_type_would_confuse() -> None:
    masks = {f"train{i}": np.full((12, 10), 257, np.uint16) for i in range(5)}  # 1 as uint8
    with pytest.raises(DataError, match="train0: the mask has the label 257"):
        open_decoded(FakeDataset(masks=masks), "train", HIERARCHY)
    store = open_decoded(FakeDataset(masks=masks), "train", WIDE)
    assert np.unique(store.mask(2)).tolist() == [257]


def test_many_labels_are_not_all_listed() -> None:
    masks = {"train1": np.full((12, 10), 999, np.uint16)}
    others = {f"train{i}": np.zeros((12, 10), np.uint8) for i in (0, 2, 3, 4)}
    found = message(FakeDataset(masks=masks | others), WIDE)
    assert "label 999" in found
    assert len(found) < 300


@pytest.mark.parametrize(
    "error",
    [
        KeyError("file"),
        ValueError("cannot decode"),
        RuntimeError("cannot decode"),
        OSError("no such file"),
        SystemExit(3),
        AssertionError(),
    ],
)
def test_errors_of_a_data_set_name_the_image_and_the_line(error: BaseException) -> None:
    found = message(Failing(error))
    assert re.match(r"train1: Failing\.image fails \(.*test_checking\.py:\d+\): ", found)
    assert str(error) in found


def test_image_that_needs_too_much_memory() -> None:
    assert message(Failing(MemoryError())).startswith("train1: needs more memory than there is")


def test_the_own_message_of_a_data_set_is_kept() -> None:
    assert message(Failing(DataError("a.jpg: is damaged"))) == "train1: a.jpg: is damaged"
    assert message(Failing(DataError("/train1.jpg: is damaged"))) == "/train1.jpg: is damaged"


def test_an_interrupt_stays_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        open_decoded(Failing(KeyboardInterrupt()), "train", HIERARCHY)


def test_image_and_mask_turned_differently() -> None:
    found = message(FakeDataset(masks={"train2": np.zeros((10, 12), np.uint8)}))
    assert "export the mask upright" in found


# Ids and fingerprints.


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([], "expected at least one id, got none"),
        (None, "expected a list of strings, got None"),
        ("abc", "expected a list of strings, got "),
        ([1, 2], "expected a list of strings, got a list"),
        ([b"a"], "expected a list of strings, got a list"),
        (["a", "b", "a"], "expected unique ids, got 'a' twice"),
        (["a", ""], "the id '' is empty"),
        (["/a"], "the id '/a' is an absolute path"),
        (["a/../../b"], "the id 'a/../../b' leads out"),
        ([".."], "the id '..' leads out"),
        (["a/"], "the id 'a/' leads out"),
        (["C:a"], "the id 'C:a' is an absolute path"),
        (["a\\b"], "has a backslash"),
        (["a\0b"], "null character"),
    ],
)
def test_ids_are_refused_before_anything_is_decoded(
    limited: bool, ids: Any, problem: str, cache: Path
) -> None:
    dataset = Returning("ids", ids)
    used: Any = FirstImages(dataset, 9) if limited else dataset  # type: ignore[arg-type]
    for open_any in (open_decoded, open_targets):
        found = message(used, open_any=open_any)
        assert re.match(r"train: Returning\.ids \(.*test_checking\.py:\d+\): ", found)
        assert problem in found
    assert dataset.image_calls == dataset.mask_calls == []
    assert not cache.exists()


@pytest.mark.parametrize("id", ["a", "aachen/x", "a.b", "..a", "a b", "ä/本", "x\udcff"])
def test_plain_and_nested_ids_are_valid(id: str) -> None:
    assert id_problem(id) == ""
    dataset = Returning("ids", [id])
    dataset.mask = lambda _: np.zeros((12, 10), np.uint8)  # type: ignore[method-assign]
    dataset.image = lambda _: np.zeros((12, 10, 3), np.uint8)  # type: ignore[method-assign]
    assert open_decoded(dataset, "train", HIERARCHY).ids == [id]


@pytest.mark.parametrize("fingerprint", [None, 5, ""])
def test_fingerprints(fingerprint: Any) -> None:
    found = message(Returning("fingerprint", fingerprint))
    assert found.startswith("train: Returning.fingerprint (")
    assert "expected a non-empty string" in found


# Attributes.


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("splits", None),
        ("splits", "train"),
        ("splits", ("train", "../val")),
        ("splits", ("train", "a/b")),
        ("splits", (1, 2)),
        ("datasets", None),
        ("datasets", []),
        ("datasets", FakeDataset()),
    ],
)
def test_attributes(attribute: str, value: Any) -> None:
    dataset = FakeDataset()
    check_attributes(dataset)
    setattr(dataset, attribute, value)
    with pytest.raises(DataError, match=rf"data: FakeDataset\.{attribute} is "):
        check_attributes(dataset)


def test_a_size_of_earlier_versions_is_not_used() -> None:
    dataset: Any = FakeDataset()
    dataset.size = "anything"
    check_attributes(dataset)
    assert open_decoded(dataset, "train", HIERARCHY).shapes.tolist() == [[6, 8]] * 5


def test_missing_attribute() -> None:
    with pytest.raises(DataError, match="data: object has no splits, which data sets need"):
        check_attributes(object())


class Joined(FakeDataset):
    """Two data sets, or others."""

    def __init__(self, *members: Any, weights: Any = None) -> None:
        super().__init__()
        self.datasets = list(members) or [FakeDataset(), FakeDataset()]
        self.weights = weights


@pytest.mark.parametrize("weights", [None, [1, 2.5], (1, 1)])
def test_joined_data_sets(weights: Any) -> None:
    check_attributes(Joined(weights=weights))


@pytest.mark.parametrize(
    "weights", [[1], [1, 2, 3], [1, 0], [1, -1], [1, float("nan")], [1, float("inf")], [1, "2"], 3]
)
def test_weights_of_joined_data_sets(weights: Any) -> None:
    with pytest.raises(
        DataError, match=r"data: Joined\.weights is .*; it must be None, or 2 posit"
    ):
        check_attributes(Joined(weights=weights))


def test_members_of_joined_data_sets() -> None:
    with pytest.raises(DataError, match=r"data: Joined\.datasets\[1\]: object has no splits"):
        check_attributes(Joined(FakeDataset(), object()))
    with pytest.raises(
        DataError, match=r"Joined\.datasets has Joined, which joins data sets itself"
    ):
        check_attributes(Joined(FakeDataset(), Joined()))


class Buffered(FakeDataset):
    """Returns views of one buffer, which its next call overwrites."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method
        self.buffers = {"image": super().image("train0"), "mask": super().mask("train0")}

    def image(self, id: str) -> np.ndarray:
        return self._returned("image", super().image(id))

    def mask(self, id: str) -> np.ndarray:
        return self._returned("mask", super().mask(id))

    def _returned(self, method: str, array: np.ndarray) -> np.ndarray:
        if method != self.method:
            return array
        self.buffers[method][:] = array
        return self.buffers[method][:]


@pytest.mark.parametrize(
    ("method", "open_any"),
    [("image", open_decoded), ("mask", open_decoded), ("mask", open_targets)],
)
def test_arrays_that_the_next_call_overwrites(method: str, open_any: Any) -> None:
    with pytest.raises(DataError, match=rf"Buffered\.{method} \(.*\): has changed the array"):
        open_any(Buffered(method), "train", HIERARCHY)
