"""The splits of images that templates or lists name."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from hieraseg.errors import DataError
from hieraseg.types import ArgumentError
from hieraseg_plugins.datasets.folder_files.listing import locate
from hieraseg_plugins.datasets.folder_files.lists import SUFFIXES, Line, read_ids, read_pairs
from hieraseg_plugins.datasets.folder_files.samples import Sample, find_samples
from hieraseg_plugins.datasets.folder_files.shares import divide
from hieraseg_plugins.datasets.folder_files.templates import IMAGE_SUFFIXES, Template, Values

Splits = Mapping[str, float | str]

_DIGITS = " (a name of digits needs quotes)"
_TEMPLATES = "write where the images are, as in images/{id}.jpg, or splits that are lists of pairs"
_SPLITS = (
    "say how images are divided, as in {train: 0.8, val: 0.2} or {train: train.txt, val: val.txt}, "
    "or put {split} into images"
)


class Found(NamedTuple):
    """What a description finds on the disk.

    Attributes:
        samples: images and masks by id, those included that lists name but are not there.
        ids: ids of each split.
    """

    samples: dict[str, Sample]
    ids: dict[str, list[str]]


def find(
    roots: Sequence[Path],
    images: Template,
    masks: Template,
    splits: Splits | None,
    group: str | None,
    seed: int,
) -> Found:
    """Find the images of templates, and divide them into splits.

    Raises:
        DataError: there are none, or they cannot be divided so.
    """
    samples = find_samples(roots, images, masks)
    if splits is None:
        splits = {sample.split: sample.split for sample in samples.values()}
    shares = {name: float(one) for name, one in splits.items() if not isinstance(one, str)}
    if shares:
        return Found(samples, divide(samples, shares, seed, group))
    ids: dict[str, list[str]] = {}
    for name, value in splits.items():
        if is_list(value):
            ids[name] = []
            for line in read_ids(roots, str(value)):
                id, sample = _listed(line, name, images, masks, samples)
                samples.setdefault(id, sample)
                ids[name].append(id)
        else:
            ids[name] = [id for id, one in samples.items() if one.split == value]
    return Found(samples, ids)


def find_pairs(roots: Sequence[Path], splits: Splits) -> Found:
    """Find the images and masks that lists name.

    The id of an image is its path without suffix.

    Raises:
        DataError: a list cannot be read, or names an image twice or with two masks.
    """
    samples: dict[str, Sample] = {}
    ids: dict[str, list[str]] = {}
    for name, list_name in splits.items():
        listed: dict[str, None] = {}
        for image, mask, place in read_pairs(roots, str(list_name)):
            id = normalize("NFC", os.path.splitext(image)[0])
            (image_file, has_image), (mask_file, has_mask) = (
                _located(roots, path, place) for path in (image, mask)
            )
            sample = Sample(image_file, mask_file, has_image, has_mask)
            if id in listed or samples.setdefault(id, sample) != sample:
                raise DataError(
                    f"{place}: {image!r} or its name with another suffix is listed before; list "
                    "each image once"
                )
            listed[id] = None
        ids[name] = list(listed)
    return Found(samples, ids)


def is_list(value: float | str) -> bool:
    """Whether the value of a split is the name of a list."""
    return isinstance(value, str) and value.lower().endswith(SUFFIXES)


def check_splits(
    splits: Splits | None, images: Template | None, masks: Template | None, group: str | None
) -> None:
    """Check that the arguments of a recipe go together.

    Raises:
        ArgumentError: they do not.
    """
    has_split = images is not None and "split" in images.names
    if images is None or masks is None:
        if images is not masks:
            missing = "images" if images is None else "masks"
            raise ArgumentError(missing, "is missing; set both templates, or none for pair lists")
        if splits is None or not all(map(is_list, splits.values())):
            raise ArgumentError("images", f"is missing; {_TEMPLATES}")
        has_split = False
    elif set(masks.names) - set(images.names):
        raise ArgumentError("masks", f"has parts that images has not, got {masks.text!r}")
    elif masks.text == images.text:
        raise ArgumentError("masks", f"must differ from images, got {masks.text!r}")
    if splits is None:
        if not has_split:
            raise ArgumentError("splits", f"is missing; {_SPLITS}")
    elif problem := _problem(splits, has_split):
        raise ArgumentError("splits", problem)
    if group is None:
        return
    if splits is None or any(isinstance(one, str) for one in splits.values()):
        raise ArgumentError("group", "is only for splits that are shares; remove it")
    try:
        re.compile(group)
    except re.error as error:
        raise ArgumentError("group", f"must be a regular expression: {error}") from error


def _problem(splits: Splits, has_split: bool) -> str:
    """Why splits cannot be used; empty if they can."""
    bad = [name for name in splits if not name or "/" in name or name.startswith(".")]
    if not splits or bad:
        return f"must have names of splits, got {bad[0] if bad else dict(splits)!r}"
    numbers = [one for one in splits.values() if not isinstance(one, str)]
    if numbers and len(numbers) < len(splits):
        return f"must be all shares or none, got {dict(splits)}; put a name of digits into quotes"
    if numbers and has_split:
        return "are shares, so that images must not have {split}; write ** for the folders"
    is_whole = all(one > 0 for one in numbers) and math.isclose(math.fsum(numbers), 1, abs_tol=1e-6)
    if numbers and not is_whole:
        return f"must be positive shares that sum to 1, got {dict(splits)}{_DIGITS}"
    names = [one for one in splits.values() if isinstance(one, str) and not is_list(one)]
    if names and not has_split:
        return (
            f"has {names[0]!r}, which is no list ({', '.join(SUFFIXES)}), and images has no "
            "{split} that it could stand for; add {split}, or name a list"
        )
    return ""


def _listed(
    line: Line, split: str, images: Template, masks: Template, samples: Mapping[str, Sample]
) -> tuple[str, Sample]:
    """The id of a line, and its image and mask, or where they are expected."""
    listed = normalize("NFC", line.text)
    values = [_values(listed, split, images)]
    stem, suffix = os.path.splitext(listed)
    if suffix.lower() in IMAGE_SUFFIXES:
        values.append(_values(stem, split, images))
    id = next((one.path for one in values if one.path in samples), values[-1].path)
    expected = images.fill(values[-1]), masks.fill(values[-1])
    return id, samples.get(id) or Sample(*expected, has_image=False, has_mask=False)


def _values(listed: str, split: str, images: Template) -> Values:
    folders, slash, name = listed.rpartition("/") if "folders" in images.names else ("", "", listed)
    return Values(split if "split" in images.names else "", folders + slash, name)


def _located(roots: Sequence[Path], path: str, place: str) -> tuple[str, bool]:
    """A listed path with the root that has it, and whether one has it."""
    found = [f"{root}/{one}" for root in roots if (one := locate(root, path)) is not None]
    if len(found) > 1:
        raise DataError(f"{place}: {found[0]} and {found[1]} are both {path!r}; remove one of them")
    return (found[0], True) if found else (path, False)
