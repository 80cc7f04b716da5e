"""Small folders of images and masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hieraseg import Hierarchy
from hieraseg.errors import DataError
from hieraseg_plugins.datasets.folder import Folder

TREE = Hierarchy.from_tree({"sky": None, "body": ["head", "leg"]}, void=[255])
"""Labels 0 sky, 1 head and 2 leg."""


def write_images(root: Path, *paths: str, size: tuple[int, int] = (4, 6)) -> Path:
    """Write gray images of a height and width; return the root."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size[::-1], (90, 90, 90)).save(root / path)
    return root


def write_mask(path: Path, mask: Any) -> Path:
    """Write a mask: `.npy`, or an image of labels `[H, W]` or colors `[H, W, 3]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.asarray(mask)
    if path.suffix == ".npy":
        np.save(path, mask)
    else:
        dtype = np.uint8 if mask.max() < 256 else np.uint16
        Image.fromarray(mask.astype(dtype)).save(path)
    return path


def write_pairs(root: Path, images: str, masks: str, *ids: str) -> Path:
    """Write an image, and a mask of label 1, for each id in two templates with `{id}`."""
    for id in ids:
        write_images(root, images.format(id=id))
        write_mask(root / masks.format(id=id), np.ones((4, 6)))
    return root


def open_folder(root: Any, tree: Hierarchy = TREE, **arguments: Any) -> Folder:
    """The data set `folder` of a root."""
    return Folder(tree, root=root, **arguments)


def ids_of(dataset: Folder) -> dict[str, list[str]]:
    """The ids of each split."""
    return {split: dataset.ids(split) for split in dataset.splits}


def refused(root: Any, **arguments: Any) -> str:
    """The sentence of a refusal, when the data set is opened or its ids are listed."""
    with pytest.raises(DataError) as caught:
        ids_of(open_folder(root, **arguments))
    assert "\n" not in str(caught.value)
    return str(caught.value)
