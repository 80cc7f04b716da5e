"""Counts of labels of any value, and reading on after anything that a data set's code does."""

import numpy as np
import pytest
from jaxtyping import UInt, UInt8

from hieraseg import VOID, Hierarchy
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.survey import Survey, survey_split
from hieraseg.errors import DataError

TREE = Hierarchy.from_tree({"a": None, "b": ["c", "d"]}, labels={3: "a", 40_000: "c", 256: "d"})


class Data:
    """A data set in memory.

    Args:
        files: by id, an image and a mask, or the error that reading raises.
    """

    splits: tuple[str, ...] = ("train",)

    def __init__(self, files: dict[str, tuple[object, object]]) -> None:
        self.files = files

    def ids(self, split: str) -> list[str]:
        return list(self.files)

    def image(self, id: str) -> UInt8[np.ndarray, "H W 3"]:
        return self._read(id, 0)

    def mask(self, id: str) -> UInt[np.ndarray, "H W"]:
        return self._read(id, 1)

    def fingerprint(self, split: str) -> str:
        return "1"

    def _read(self, id: str, index: int) -> np.ndarray:
        found = self.files[id][index]
        if isinstance(found, BaseException):
            raise found
        return np.array(found)


def survey(files: dict[str, tuple[object, object]]) -> Survey:
    return survey_split(CheckedDataset(Data(files), TREE), "train", TREE)


def image(*shape: int) -> np.ndarray:
    return np.zeros((*shape, 3), np.uint8)


def test_labels_of_16_bits() -> None:
    mask = np.array([[3, 40_000, VOID], [256, 40_000, 40_001]], np.uint16)
    found = survey({"x": (image(2, 3), mask), "y": (image(1, 1), np.array([[4]], np.uint8))})
    assert found.bad_files == []
    assert (found.labels.pixels, found.labels.void_pixels) == (5, 1)
    assert [level.pixels.tolist() for level in found.labels.levels] == [[1, 3], [1, 1, 2]]
    unknown = {value: vars(one) for value, one in found.labels.unknown.items()}
    assert unknown == {
        40_001: {"first": "x", "pixels": 1, "images": 1},
        4: {"first": "y", "pixels": 1, "images": 1},
    }


def test_a_label_may_have_the_value_of_void() -> None:
    tree = Hierarchy.from_tree(["a", "b"], labels={0: "a", VOID: "b"})
    data = Data({"x": (image(1, 2), np.array([[0, VOID]], np.uint16))})
    found = survey_split(CheckedDataset(data, tree), "train", tree)
    assert found.labels.levels[0].pixels.tolist() == [1, 1]
    assert found.labels.void_pixels == 0


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DataError("x: is damaged; copy it"), "x: is damaged; copy it"),
        (DataError("/a/b.png: is\n damaged"), "x: /a/b.png: is damaged"),
        (KeyError("k"), "x: Data.image fails"),
        (MemoryError(), "x: needs more memory than there is; make it smaller"),
    ],
)
def test_any_error_is_of_its_file_alone(error: Exception, sentence: str) -> None:
    mask = np.array([[3, 3]], np.uint8)
    found = survey({"x": (error, mask), "y": (image(1, 2), mask)})
    assert [bad.id for bad in found.bad_files] == ["x"]
    assert found.bad_files[0].problem.startswith(sentence)
    assert found.fingerprints.ids == ["y"]
    assert found.shapes.tolist() == [[1, 2]]
    assert found.labels.levels[0].images.tolist() == [2, 0], "the mask of x can be read"


def test_both_files_can_be_bad() -> None:
    found = survey({"x": (DataError("x: no image"), np.zeros((2, 2, 2)))})
    assert [bad.problem.split(":")[0] for bad in found.bad_files] == ["x", "x"]
    assert found.shapes.shape == (0, 2)
    assert found.labels.pixels == 0


def test_a_split_that_cannot_be_listed() -> None:
    with pytest.raises(DataError, match="expected at least one id"):
        survey({})
