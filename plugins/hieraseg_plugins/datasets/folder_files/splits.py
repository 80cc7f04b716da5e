"""The splits of images that templates or lists name."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from hieraseg.errors import DataError
from hieraseg_plugins.datasets.folder_files.arguments import Splits, is_list
from hieraseg_plugins.datasets.folder_files.listing import locate
from hieraseg_plugins.datasets.folder_files.lists import Line, read_ids, read_pairs
from hieraseg_plugins.datasets.folder_files.samples import Sample, find_samples
from hieraseg_plugins.datasets.folder_files.shares import divide
from hieraseg_plugins.datasets.folder_files.templates import IMAGE_SUFFIXES, Template, Values


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
