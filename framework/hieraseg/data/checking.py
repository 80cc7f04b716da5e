"""Checks of what a data set returns. Data sets are plugins, so it can be anything."""

import inspect
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from jaxtyping import Shaped, UInt, UInt8

from hieraseg.contracts import Dataset
from hieraseg.data.subset import unwrapped
from hieraseg.errors import DataError, from_here
from hieraseg.hierarchy import VOID, Hierarchy
from hieraseg.tracebacks import describe, place_in

_ATTRIBUTES = ("splits", "ids", "image", "mask", "fingerprint")


def missing_splits(dataset: Dataset) -> list[str]:
    """A sentence on each split that training needs, but the data set does not have."""
    return [
        f"data: the data set has no split {split!r}, which training needs; it has "
        f"{', '.join(dataset.splits)}: call one of them so"
        for split in ("train", "val")
        if split not in dataset.splits
    ]


class CheckedDataset:
    """A data set whose results are checked.

    Every problem is a DataError of one sentence with the image's id, and the file and line of the
    data set's code.

    Attributes:
        values: the label values that a mask may have, void included.
        void_value: the value that `hieraseg.VOID` becomes.
        mask_dtype: uint8, or uint16 where the values need it.

    Args:
        dataset: the data set.
        hierarchy: the class tree.
    """

    def __init__(self, dataset: Dataset, hierarchy: Hierarchy) -> None:
        self.dataset = dataset
        self.values = sorted({*hierarchy.labels, *hierarchy.void})
        largest = max(hierarchy.largest_value, hierarchy.void_value)
        self.mask_dtype = np.dtype(np.uint8 if largest < 256 else np.uint16)
        self._is_known = np.zeros(np.iinfo(np.uint16).max + 1, bool)
        self._is_known[self.values] = True
        self.void_value = hierarchy.void_value
        self._replaces_void = not self._is_known[VOID]
        self._is_known[VOID] = True
        self._first: dict[str, _Returned] = {}

    def fingerprint(self, split: str) -> str:
        """The fingerprint of a split."""
        found = _call(self.dataset, "fingerprint", split)
        if not isinstance(found, str) or not found:
            _reject(self.dataset, "fingerprint", split, "a non-empty string", found)
        return found

    def ids(self, split: str) -> list[str]:
        """The ids of a split: at least one, unique, and valid as names of output files."""
        found = _call(self.dataset, "ids", split)
        if not isinstance(found, list | tuple) or not all(isinstance(id, str) for id in found):
            _reject(self.dataset, "ids", split, "a list of strings", found)
        if not found:
            _reject(self.dataset, "ids", split, "at least one id", "none")
        suspects = [] if _are_plain(found) else found
        for id in suspects:
            problem = id_problem(id)
            if problem:
                place = _definition(self.dataset, "ids")
                raise DataError(f"{split}: {place}: the id {id!r} {problem}")
        if len(set(found)) < len(found):
            duplicate = next(id for id, count in Counter(found).items() if count > 1)
            _reject(self.dataset, "ids", split, "unique ids", f"{duplicate!r} twice")
        return list(found)

    def image(self, id: str) -> UInt8[np.ndarray, "H W 3"]:
        """An RGB image."""
        image = _call(self.dataset, "image", id)
        shape: tuple[int, ...] = getattr(image, "shape", ())
        if not _is_array(image, (np.uint8,)) or len(shape) != 3 or shape[2] != 3 or not image.size:
            fix = "return RGB pixels in 0..255, as hieraseg.read_image does"
            _reject(self.dataset, "image", id, "uint8 [H, W, 3]", image, fix)
        self._check_unshared("image", id, image)
        return image

    def label_values(self, id: str) -> UInt[np.ndarray, "H W"]:
        """The label values of an image as the data set has them, known or not."""
        mask = _call(self.dataset, "mask", id)
        if not _is_array(mask, (np.uint8, np.uint16)) or mask.ndim != 2 or not mask.size:
            fix = "return label values, as hieraseg.read_mask does"
            _reject(self.dataset, "mask", id, "uint8 or uint16 [H, W]", mask, fix)
        self._check_unshared("mask", id, mask)
        return mask

    def mask(self, id: str) -> UInt[np.ndarray, "H W"]:
        """The label values of an image, all of them known, as `mask_dtype`."""
        mask = self.label_values(id)
        known = self._is_known[mask]
        if not known.all():
            unknown = int(mask[~known].min())
            raise DataError(
                f"{id}: the mask has the label {unknown}, but the hierarchy knows only "
                f"{_listed(self.values)}; fix the mask, or add the label to the hierarchy"
            )
        if self._replaces_void and mask.dtype == np.uint16:
            mask = np.where(mask == VOID, np.uint16(self.void_value), mask)
        return mask.astype(self.mask_dtype, copy=False)

    def pair(self, id: str) -> tuple[UInt8[np.ndarray, "H W 3"], UInt[np.ndarray, "H W"]]:
        """An image and its mask, of the same size."""
        image, mask = self.image(id), self.mask(id)
        check_same_size(id, image.shape, mask.shape)
        return image, mask

    def _check_unshared(self, method: str, id: str, array: Shaped[np.ndarray, "..."]) -> None:
        """Check that later calls leave the array of the first one as it was."""
        if method not in self._first:
            self._first[method] = _Returned(id, array, array.copy())
        first = self._first[method]
        if not np.array_equal(first.array, first.copy):
            place = _definition(self.dataset, method)
            raise DataError(
                f"{id}: {place}: has changed the array that it returned for {first.id!r}; "
                "return a new array from each call, since several threads read"
            )


class _Returned(NamedTuple):
    """An array that a data set returned, and a copy made at once."""

    id: str
    array: Shaped[np.ndarray, "..."]
    copy: Shaped[np.ndarray, "..."]


def check_attributes(dataset: Any) -> None:
    """Check the attributes of a data set (see `contracts.Dataset`).

    Raises:
        DataError: one is missing or invalid.
    """
    name = type(dataset).__name__
    missing = [attribute for attribute in _ATTRIBUTES if not hasattr(dataset, attribute)]
    if missing:
        raise DataError(f"data: {name} has no {missing[0]}, which data sets need; add it")
    splits = dataset.splits
    if not isinstance(splits, list | tuple) or not all(_is_split(one) for one in splits):
        raise DataError(f"data: {name}.splits is {splits!r}; it must be a tuple of names")
    if hasattr(dataset, "datasets"):
        _check_members(dataset, name)


def _check_members(dataset: Any, name: str) -> None:
    """Check the attributes of a joined data set, and those of its members."""
    members, weights = dataset.datasets, getattr(dataset, "weights", None)
    if not isinstance(members, list | tuple) or not members:
        raise DataError(f"data: {name}.datasets is {members!r}; it must be a list of data sets")
    for index, member in enumerate(members):
        if hasattr(member, "datasets"):
            raise DataError(
                f"data: {name}.datasets has {type(member).__name__}, which joins data sets itself; "
                "list its data sets instead"
            )
        try:
            check_attributes(member)
        except DataError as error:
            problem = str(error).removeprefix("data: ")
            raise DataError(f"data: {name}.datasets[{index}]: {problem}") from error
    if weights is not None and not _are_weights(weights, len(members)):
        raise DataError(
            f"data: {name}.weights is {weights!r}; it must be None, or {len(members)} positive "
            "numbers, one per data set"
        )


def _are_weights(weights: Any, count: int) -> bool:
    return (
        isinstance(weights, list | tuple)
        and len(weights) == count
        and all(isinstance(one, int | float) and 0 < one < math.inf for one in weights)
    )


def check_same_size(id: str, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """Check that an image and its mask have the same height and width.

    Args:
        id: id of the image.
        image: shape of the image.
        mask: shape of the mask.

    Raises:
        DataError: they differ.
    """
    (height, width), own = image[:2], mask[:2]
    if (height, width) != own:
        fix = "export the mask again at the image's size"
        if (width, height) == own:
            fix = "export the mask upright, as viewers show the image"
        raise DataError(
            f"{id}: the image is {width}x{height} pixels, but its mask is {own[1]}x{own[0]}; {fix}"
        )


def id_problem(id: str) -> str:
    """Why an id cannot name output files, inside their folder, on every system; empty if it can."""
    if not id:
        return "is empty; use names of files"
    if id.startswith("/") or re.match("[A-Za-z]:", id):
        return "is an absolute path; use a path relative to the folder of the images"
    if "\\" in id or "\0" in id:
        return "has a backslash or a null character; use `/` between folders"
    if {"", ".", ".."} & set(id.split("/")):
        return "leads out of the output folder, or has empty parts; use a plain path"
    return ""


def _are_plain(ids: Sequence[str]) -> bool:
    """Whether no id can have a problem, which is decided at once for all, since they are many."""
    text = f"/{'/'.join(ids)}/"
    return not any(part in text for part in ("//", "/./", "/../", "\\", "\0", ":"))


def _is_split(name: Any) -> bool:
    return isinstance(name, str) and not id_problem(name) and "/" not in name


def _is_array(value: Any, dtypes: tuple[type, ...]) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.newbyteorder("=") in dtypes


def _call(dataset: Dataset, method: str, argument: str) -> Any:
    """Call a method with an id or a split, and turn any error of its code into DataError."""
    try:
        return getattr(dataset, method)(argument)
    except DataError as error:
        if method in ("ids", "fingerprint") or argument in str(error):
            raise
        raise DataError(f"{argument}: {error}") from error
    except MemoryError:  # no fault of the data set
        raise
    except (Exception, SystemExit) as error:
        own = type(unwrapped(dataset))
        place = place_in(own, error)
        where = f" ({from_here(place)})" if place else ""
        raise DataError(
            f"{argument}: {own.__name__}.{method} fails{where}: {describe(error)}; "
            "fix the data, or the code that reads it"
        ) from error


def _reject(
    dataset: Dataset, method: str, argument: str, expected: str, got: Any, fix: str = ""
) -> NoReturn:
    """Raise DataError for what a method returned."""
    if isinstance(got, np.ndarray):
        got = f"{got.dtype} {list(got.shape)}"
    elif not isinstance(got, str):
        got = "None" if got is None else f"a {type(got).__name__}"
    place = _definition(dataset, method)
    fix = fix or "fix the data set"
    raise DataError(f"{argument}: {place}: expected {expected}, got {got or 'an empty one'}; {fix}")


def _definition(dataset: Dataset, method: str) -> str:
    """A method, with the file and line where it is defined."""
    own = unwrapped(dataset)
    name = f"{type(own).__name__}.{method}"
    code = getattr(inspect.unwrap(getattr(own, method)), "__code__", None)
    return f"{name} ({from_here(code.co_filename)}:{code.co_firstlineno})" if code else name


def _listed(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:20]))
    return shown + (f", ... {values[-1]}" if len(values) > 20 else "")
