"""A data set that is described in the recipe: where its images and masks are, and what they say."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import UInt, UInt8

from hieraseg import Hierarchy, data_folder, read_image
from hieraseg.errors import DataError
from hieraseg.types import NonEmpty, NonNegativeInt, Range, check_arguments
from hieraseg_plugins.datasets.folder_files.arguments import check_arguments_together, is_list
from hieraseg_plugins.datasets.folder_files.masks import MaskReader
from hieraseg_plugins.datasets.folder_files.samples import Sample, check_files
from hieraseg_plugins.datasets.folder_files.splits import find, find_pairs
from hieraseg_plugins.datasets.folder_files.templates import Template

_Channel = Annotated[int, Range(ge=0, le=255)]
_THREADS, _CHUNK = 8, 500  # disks of a network answer many requests at once


@check_arguments
class Folder:
    """Images and masks in folders, with splits, labels and colors as the recipe describes them.

        data:
          name: folder
          root: ~/data/street
          images: images/{split}/**/{id}.jpg
          masks: masks/{split}/**/{id}_labels.png

    All paths are relative to `root`. In the templates `images` and `masks`, `{split}` and `{id}`
    are a name or a part of one, `{id}` as much of it as possible. `*` is any part of a name, and
    `**` any number of folders. In the template of masks, all but `*` are as in the image's path.
    `.*` at the end is any suffix of an image, and the case of a suffix does not matter. Hidden
    files are left out.

    The id of an image is what `{split}`, `**` and `{id}` are in its path, joined by `/`. An id in
    a list is what `**` and `{id}` are, with or without the image's suffix; there, `{id}` may have
    folders if `images` has no `**`, and `{split}` is the name of the split. The root is searched
    once, when the data set is opened.

    Images are read by `hieraseg.read_image`, masks by `read_mask` or, with `colors`, by
    `read_color_mask`.

    Args:
        hierarchy: the class tree.
        dataset: name of the data set, by which a root of null is found.
        root: folder of the data set, or several, which are searched like one. Null for
            `$HIERASEG_DATA/<dataset>`, or else `./data/<dataset>`.
        images: template of the images, such as `images/{split}/{id}.jpg`.
        masks: template of the masks, such as `masks/{split}/{id}.png`.
        splits: for each split its share of the images, as in `{train: 0.8, val: 0.2}`; or the name
            that `{split}` has, as in `{train: training, val: validation}`; or a list of ids, a
            text file with one per line, as in `{train: train.txt, val: val.txt}`. Without `images`
            and `masks`, a list has the paths of an image and its mask in each line. Null for one
            split per name that `{split}` has.
        group: for shares, regular expression that finds in an id what it shares with the ids that
            must stay in one split, such as the frames of a video: its first group, or else all.
        seed: for shares, seed of the division.
        colors: for masks of colors, the color `[red, green, blue]` of each name; or a file with
            lines `r g b name`, or a CSV file with the header `name,r,g,b`.
        labels: class of the tree, or `void`, for values of the masks, or for names of `colors`;
            `"*"` stands for all others. Names of `colors` need no entry if the tree has them. Null
            if values or names are those of the tree.

    Raises:
        ValueError: arguments do not go together, or do not fit the class tree.
        DataError: the root or a list does not exist, or nothing is found in it.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        dataset: str = "folder",
        root: Path | Annotated[list[Path], NonEmpty()] | None = None,
        images: str | None = None,
        masks: str | None = None,
        splits: dict[str, float | str] | None = None,
        group: str | None = None,
        seed: NonNegativeInt = 0,
        colors: dict[str, tuple[_Channel, _Channel, _Channel]] | str | None = None,
        labels: dict[int | str, str] | None = None,
    ) -> None:
        self._lists = {name: str(one) for name, one in (splits or {}).items() if is_list(one)}
        deep = bool(self._lists) and "**" not in (images or "")
        of_images = None if images is None else Template("images", images, deep)
        of_masks = None if masks is None else Template("masks", masks, deep)
        check_arguments_together(splits, of_images, of_masks, group)
        self.roots = _roots(root, dataset)
        self._reader = MaskReader(self.roots, hierarchy, colors, labels)
        if of_images is None or of_masks is None:
            found = find_pairs(self.roots, splits or {})
        else:
            found = find(self.roots, of_images, of_masks, splits, group, seed)
        self._samples, self._ids = found
        self.splits = tuple(self._ids)

    def ids(self, split: str) -> list[str]:
        """Ids of a split: sorted, or in the order of its list.

        Raises:
            DataError: there is no such split, it is empty, or images or masks are missing.
        """
        if split not in self._ids:
            known = ", ".join(self.splits)
            raise DataError(f"{self.roots[0]}: no split {split!r}; it has {known}")
        if not self._ids[split]:
            found = dict.fromkeys(one.split for one in self._samples.values())
            raise DataError(
                f"{self.roots[0]}: the split {split!r} has no images; set data.splits.{split} to "
                f"what {{split}} is in their paths: {', '.join(found)}"
            )
        samples = {id: self._samples[id] for ids in self._ids.values() for id in ids}
        check_files(self.roots, split, self._ids[split], samples, self._lists.get(split, ""))
        return self._ids[split].copy()

    def image(self, id: str) -> UInt8[np.ndarray, "H W 3"]:
        """RGB image. Raises DataError if it cannot be read."""
        return read_image(self._sample(id).image)

    def mask(self, id: str) -> UInt[np.ndarray, "H W"]:
        """Label values of the tree. Raises DataError if the file is not a mask, or has others."""
        return self._reader.read(self._sample(id).mask)

    def fingerprint(self, split: str) -> str:
        """Digest of the files' paths, sizes and modification times, and of the table of labels.

        Images and masks are not read: 200,000 of each take about two seconds.

        Raises:
            DataError: as `ids`, or a file is gone.
        """
        samples = [self._samples[id] for id in self.ids(split)]
        paths = [path for one in samples for path in (one.image, one.mask)]
        digest = hashlib.sha256(repr((self.roots, self._reader.table)).encode(errors="replace"))
        chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
        with ThreadPoolExecutor(_THREADS) as pool:
            for lines in pool.map(_status, chunks):
                digest.update(lines)
        return digest.hexdigest()

    def _sample(self, id: str) -> Sample:
        if id not in self._samples:
            raise DataError(f"{self.roots[0]}: no image {id!r}; take an id from ids(split)")
        return self._samples[id]


def _roots(root: Path | Sequence[Path] | None, dataset: str) -> list[Path]:
    """The folders of a data set. Raises DataError if one does not exist."""
    if root is None:
        root = data_folder(dataset)
    several = [root] if isinstance(root, str | os.PathLike) else root
    roots = list(dict.fromkeys(map(Path, several)))
    for one in roots:
        if not one.is_dir():
            fix = "set data.root to the folder of the data set"
            if one == data_folder(dataset):  # which recipes that leave it out have, too
                fix += f", or HIERASEG_DATA to the folder that has `{dataset}` in it"
            raise DataError(f"{one}: no such data folder; {fix}")
    return roots


def _status(paths: list[str]) -> bytes:
    """Path, size and modification time of files, one per line."""
    lines = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        lines.append(f"{path} {status.st_size} {status.st_mtime_ns}\n")
    return "".join(lines).encode(errors="surrogateescape")
