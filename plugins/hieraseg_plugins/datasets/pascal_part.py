"""Pascal-Part, persons: a folder of images, part masks and lists of ids."""

import hashlib
import io
import os
from collections import Counter
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from hieraseg import Hierarchy
from hieraseg.data.images import UNREADABLE
from hieraseg.errors import DataError, first_few

# NumPy parses headers with `ast`, which in Python 3.11 fails at random when threads use it at
# once (python/cpython#106905).
_HEADERS = Lock()


class PascalPart:
    """The folder `root` with its splits `train`, `val` and `holdout`.

    It holds `JPEGImages/<id>.jpg`, `gt_masks/<id>.npy` (uint8 `[H, W]`, label values) or
    `gt_masks/<id>.png` (palette or grey), `classes.txt` (`1: low_hand`), `train_id.txt` and
    `val_id.txt`. The first `train_images` ids of `train_id.txt` are `train`, its others `val`;
    those of `val_id.txt` are the `holdout`, which is for the final table alone.

    Args:
        hierarchy: the class tree, whose labels must agree with `classes.txt`.
        root: the folder.
        size: height and width in pixels that images are resized to.
        train_images: how many ids of `train_id.txt` are trained on; null for the reference
            split, 2400 of its 2826 ids, or that share of a shorter list.

    Raises:
        DataError: a folder or file is missing, or `classes.txt` disagrees with the hierarchy.
    """

    splits = ("train", "val", "holdout")

    def __init__(
        self,
        hierarchy: Hierarchy,
        root: Path | str = Path("data/pascal_part"),
        size: tuple[int, int] = (224, 224),
        train_images: int | None = None,
    ) -> None:
        self.root = Path(root)
        self.size = size
        self.train_images = train_images
        if min(size) < 1:
            raise ValueError(f"size is {size}, but both sides must be at least 1 pixel")
        if train_images is not None and train_images < 1:
            raise ValueError(f"train_images is {train_images}, but must be at least 1")
        if not self.root.is_dir():
            raise DataError(
                f"{self.root}: no such data folder; set data.root to the folder of Pascal-Part "
                "that holds JPEGImages, gt_masks, classes.txt, train_id.txt and val_id.txt"
            )
        _check_classes(self.root / "classes.txt", hierarchy)

    def ids(self, split: str) -> list[str]:
        """Ids of a split, in the order of its list.

        Raises:
            DataError: no such split or list, an empty one, or ids without image or mask.
        """
        if split not in self.splits:
            raise DataError(f"{self.root}: no split {split!r}; it has {', '.join(self.splits)}")
        path = self.root / ("val_id.txt" if split == "holdout" else "train_id.txt")
        ids = _lines(path)
        if split != "holdout":
            trained = self.train_images or min(max(len(ids) * 2400 // 2826, 1), len(ids) - 1)
            ids = ids[:trained] if split == "train" else ids[trained:]
        if not ids:
            raise DataError(
                f"{path}: has no ids left for the split {split!r}; "
                "list more ids, or set data.train_images lower"
            )
        self._check_files(ids, path)
        return ids

    def image(self, id: str) -> UInt8[np.ndarray, "H W 3"]:
        """RGB image. Raises DataError for a file that is damaged."""
        return np.asarray(_open(self._image_path(id)).convert("RGB"))

    def mask(self, id: str) -> UInt8[np.ndarray, "H W"]:
        """Label values. Raises DataError for a file that is damaged or no mask."""
        path = self._mask_path(id)
        if path.suffix == ".png":
            picture = _open(path)
            if picture.mode not in ("L", "P", "1"):
                raise DataError(
                    f"{path}: is a picture of mode {picture.mode}, not a mask; "
                    "save label values as a grey or palette PNG"
                )
            return np.asarray(picture).astype(np.uint8)
        try:
            data = io.BytesIO(path.read_bytes())
            with _HEADERS:
                mask = np.lib.format.read_array(data, allow_pickle=False)
        except Exception as error:  # numpy parses a damaged header until anything goes wrong
            reason = "it needs pickle" if "pickle" in str(error) else str(error)
            raise DataError(
                f"{path}: cannot be read ({reason}); save the mask as a uint8 array with np.save"
            ) from error
        if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
            raise DataError(
                f"{path}: is a {mask.dtype} array of shape {mask.shape}; "
                "a mask is uint8 of height x width"
            )
        if mask.size and not 0 <= mask.min() <= mask.max() <= 255:
            raise DataError(f"{path}: has labels outside 0 to 255; a mask is uint8")
        return mask.astype(np.uint8)

    def fingerprint(self, split: str) -> str:
        """Digest of the split's ids and of the sizes and times of its files."""
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
        problems = [
            f"{id} has no {'image JPEGImages/' + id + '.jpg' if id not in images else ''}"
            f"{' and no ' if id not in images and id not in masks else ''}"
            f"{'mask gt_masks/' + id + '.npy' if id not in masks else ''}"
            for id in ids
            if id not in images or id not in masks
        ]
        if problems:
            listed = first_few(problems, "ids have no image or mask")
            raise DataError(f"{source}: {listed}; add the files, or take the ids off the list")


def _stems(folder: Path, suffixes: tuple[str, ...]) -> set[str]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; unpack the data set again")
    names = (os.path.splitext(entry.name) for entry in os.scandir(folder))
    return {stem for stem, suffix in names if suffix in suffixes}


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; unpack the data set again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a UTF-8 text file ({error.reason})") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    repeated = [line for line, count in Counter(lines).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: lists {repeated[0]} more than once; each id stands once")
    return lines


def _check_classes(path: Path, hierarchy: Hierarchy) -> None:
    """`classes.txt` must say what the hierarchy says: bg or background for 0, then the parts."""
    listed = {}
    for number, line in enumerate(_lines(path), 1):
        value, separator, title = line.partition(":")
        if not separator or not value.strip().isdecimal():
            raise DataError(f"{path}:{number}: expected `1: low_hand`, got {line!r}")
        listed[int(value)] = title.strip()
    if listed.get(0, "bg") == "bg":
        listed[0] = "background"
    if listed != hierarchy.labels:
        differing = sorted({*listed.items(), *hierarchy.labels.items()})
        value = next(v for v, _ in differing if listed.get(v) != hierarchy.labels.get(v))
        raise DataError(
            f"{path}: label {value} is {listed.get(value, 'missing')!r} here, but "
            f"{hierarchy.labels.get(value, 'missing')!r} in the hierarchy; "
            "choose the hierarchy that this data set was labelled with"
        )


def _open(path: Path) -> Image.Image:
    """A decoded picture; Pillow would decode it late, and guess at a truncated one."""
    try:
        picture = Image.open(io.BytesIO(path.read_bytes()))
        picture.load()
    except UNREADABLE as error:
        reason = "no picture" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{path}: is damaged ({reason}); copy the file again") from error
    return picture
