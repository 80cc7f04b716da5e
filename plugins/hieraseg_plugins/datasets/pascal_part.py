"""Pascal-Part, persons: a folder of images, part masks and lists of ids."""

import hashlib
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import UInt, UInt8

from hieraseg import Hierarchy, data_folder, read_image, read_mask
from hieraseg.data.label_names import naming_problem
from hieraseg.errors import DataError, first_few
from hieraseg.types import PositiveInt, check_arguments


@check_arguments
class PascalPart:
    """Persons of Pascal-Part, with the splits `train`, `val` and `holdout`.

    The folder `root` holds `JPEGImages/<id>.jpg`, `gt_masks/<id>.npy` (uint8 `[H, W]`, label
    values) or `gt_masks/<id>.png` (palette or grayscale), `classes.txt` (`1: low_hand`),
    `train_id.txt` and `val_id.txt`. The first `train_images` ids of `train_id.txt` are `train`,
    the others `val`. The ids of `val_id.txt` are the `holdout`, for the final results only.

    Source: Chen et al. 2014, "Detect What You Can: Detecting and Representing Objects using
    Holistic Models and Body Parts", arXiv:1406.2031.

    Args:
        hierarchy: the class tree. It may rename and merge the labels of `classes.txt`, but must
            have the same ones, and not give the name of one to another.
        root: folder of the data set. Null for `$HIERASEG_DATA/pascal_part`, or else
            `./data/pascal_part`.
        train_images: number of ids of `train_id.txt` in the split `train`. Null for the reference
            split: 2400 of the 2826 ids, or the same share of a shorter list.

    Raises:
        DataError: a folder or file is missing, or `classes.txt` disagrees with the hierarchy.
    """

    splits = ("train", "val", "holdout")

    def __init__(
        self,
        hierarchy: Hierarchy,
        root: Path | str | None = None,
        train_images: PositiveInt | None = None,
    ) -> None:
        self.root = data_folder("pascal_part") if root is None else Path(root)
        self.train_images = train_images
        if not self.root.is_dir():
            fix = (
                "set data.root to the folder of Pascal-Part that holds JPEGImages, gt_masks, "
                "classes.txt, train_id.txt and val_id.txt"
            )
            if root is None:
                fix += ", or HIERASEG_DATA to the folder that has it (default: ./data)"
            raise DataError(f"{self.root}: no such data folder; {fix}")
        classes = self.root / "classes.txt"
        self.label_names = _label_names(classes)
        _check_classes(classes, self.label_names, hierarchy)

    def ids(self, split: str) -> list[str]:
        """Ids of a split, in the order of their list.

        Raises:
            DataError: the split or its list does not exist, the split is empty, or images or
                masks are missing.
        """
        if split not in self.splits:
            raise DataError(f"{self.root}: no split {split!r}; it has {', '.join(self.splits)}")
        path = self.root / ("val_id.txt" if split == "holdout" else "train_id.txt")
        ids = _lines(path)
        if split != "holdout":
            count = self.train_images or min(max(len(ids) * 2400 // 2826, 1), len(ids) - 1)
            ids = ids[:count] if split == "train" else ids[count:]
        if not ids:
            raise DataError(
                f"{path}: has no ids left for the split {split!r}; "
                "list more ids, or set data.train_images lower"
            )
        self._check_files(ids, path)
        return ids

    def image(self, id: str) -> UInt8[np.ndarray, "H W 3"]:
        """RGB image. Raises DataError if the file is damaged."""
        return read_image(self._image_path(id))

    def mask(self, id: str) -> UInt[np.ndarray, "H W"]:
        """Label values. Raises DataError if the file is damaged or not a mask."""
        return read_mask(self._mask_path(id))

    def fingerprint(self, split: str) -> str:
        """Digest of the split's ids and of the sizes and modification times of its files."""
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        for id in self.ids(split):
            for path in (self._image_path(id), self._mask_path(id)):
                status = path.stat()
                digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _image_path(self, id: str) -> Path:
        return self.root / "JPEGImages" / f"{id}.jpg"

    def _mask_path(self, id: str) -> Path:
        array = self.root / "gt_masks" / f"{id}.npy"
        return array if array.exists() else array.with_suffix(".png")

    def _check_files(self, ids: list[str], source: Path) -> None:
        images = _stems(self.root / "JPEGImages", (".jpg",))
        masks = _stems(self.root / "gt_masks", (".npy", ".png"))
        problems = []
        for id in ids:
            missing = [] if id in images else [f"no image JPEGImages/{id}.jpg"]
            missing += [] if id in masks else [f"no mask gt_masks/{id}.npy"]
            if missing:
                problems.append(f"{id} has {' and '.join(missing)}")
        if problems:
            listed = first_few(problems, "ids have no image or mask")
            raise DataError(f"{source}: {listed}; add the files, or remove the ids from the list")


def _stems(folder: Path, suffixes: tuple[str, ...]) -> set[str]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; unpack the data set again")
    names = (os.path.splitext(entry.name) for entry in os.scandir(folder))
    return {stem for stem, suffix in names if suffix in suffixes}


def _lines(path: Path) -> list[str]:
    """Lines of a text file, without empty ones. Raises DataError for a duplicate."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; unpack the data set again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a UTF-8 text file ({error.reason})") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    duplicates = [line for line, count in Counter(lines).items() if count > 1]
    if duplicates:
        raise DataError(f"{path}: duplicate {duplicates[0]}; list each id once")
    return lines


def _label_names(path: Path) -> dict[int, str]:
    """Name of each label that `classes.txt` lists. Label 0 may be called `bg`, or be left out."""
    listed = {}
    for number, line in enumerate(_lines(path), 1):
        label, separator, title = line.partition(":")
        if not separator or not re.fullmatch("[0-9]{1,5}", label.strip()):
            raise DataError(f"{path}:{number}: expected `1: low_hand`, got {line!r}")
        listed[int(label)] = title.strip()
    if listed.get(0, "bg") == "bg":
        listed[0] = "background"
    return listed


def _check_classes(path: Path, names: dict[int, str], hierarchy: Hierarchy) -> None:
    problem = naming_problem(names, hierarchy)
    if problem:
        raise DataError(f"{path}: {problem}")
    for value, name in sorted(names.items()):
        if value not in hierarchy.labels and value not in hierarchy.void:
            raise DataError(
                f"{path}: label {value} is {name!r} in the data set, but missing in the tree; "
                "add it to `labels` or `void` of the hierarchy"
            )
    for value, name in sorted(hierarchy.labels.items()):
        if value not in names:
            raise DataError(
                f"{path}: label {value} is {name!r} in the tree, but missing in the data set; "
                "choose the hierarchy that this data set was labelled with"
            )
