"""Tiny generated folders in the layouts of public data sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

STRIPE = 8
"""Width in pixels of each value in a mask."""

Value = int | tuple[int, int, int]


class Layout(NamedTuple):
    """Where the files of a data set lie.

    Attributes:
        image: path of an image, with `{split}` and `{id}`.
        mask: path of its mask.
        ids: ids of each split, under the split's name on the disk.
        others: paths of other files that a copy of the data set has for each image.
        id_list: path of the list of the ids of a split, if the data set has such lists.
        mode: Pillow's mode of the masks.
    """

    image: str
    mask: str
    ids: dict[str, list[str]]
    others: Sequence[str] = ()
    id_list: str = ""
    mode: str = "L"


LAYOUTS = {
    "ade20k": Layout(
        "images/{split}/{id}.jpg",
        "annotations/{split}/{id}.png",
        {
            "training": ["ADE_train_00000001", "ADE_train_00000002"],
            "validation": ["ADE_val_00000001"],
        },
    ),
    "camvid": Layout(
        "701_StillsRaw_full/{id}.png",
        "LabeledApproved_full/{id}_L.png",
        {
            "train": ["0001TP_008520", "0006R0_f00930"],
            "val": ["0016E5_07959", "0016E5_08159"],
            "test": ["0001TP_008550", "Seq05VD_f00000"],
        },
        id_list="{split}.txt",
        mode="RGB",
    ),
    "cityscapes": Layout(
        "leftImg8bit/{split}/{id}_leftImg8bit.png",
        "gtFine/{split}/{id}_gtFine_labelIds.png",
        {
            "train": ["aachen/aachen_000000_000019", "bochum/bochum_000000_000313"],
            "val": ["frankfurt/frankfurt_000000_000294", "lindau/lindau_000000_000019"],
            "test": ["berlin/berlin_000000_000019"],
        },
        others=[
            "gtFine/{split}/{id}_gtFine_color.png",
            "gtFine/{split}/{id}_gtFine_instanceIds.png",
            "gtFine/{split}/{id}_gtFine_labelTrainIds.png",
        ],
    ),
    "coco_stuff": Layout(
        "images/{split}/{id}.jpg",
        "annotations/{split}/{id}.png",
        {"train2017": ["000000000009", "000000000025"], "val2017": ["000000000139"]},
        others=["annotations/{split}/{id}_labelTrainIds.png"],
    ),
    "lip": Layout(
        "{split}_images/{id}.jpg",
        "{split}_segmentations/{id}.png",
        {"train": ["77_471474", "1000_1234574"], "val": ["100034_483681"]},
    ),
    "mapillary_vistas_v2": Layout(
        "{split}/images/{id}.jpg",
        "{split}/v2.0/labels/{id}.png",
        {
            "training": ["0035fkbjWljhaftpVM37-g", "-00C_6_VuMVgHEp3S2oCMQ"],
            "validation": ["_0kzhCLgWQ8jD9UO3o2xSA"],
        },
        others=["{split}/v1.2/labels/{id}.png", "{split}/v2.0/instances/{id}.png"],
        mode="P",
    ),
    "pascal_person_part": Layout(
        "JPEGImages/{id}.jpg",
        "pascal_person_part_gt/{id}.png",
        {
            "train": ["2008_000026", "2008_000041"],
            "val": ["2008_000003"],
            "trainval": ["2007_000027"],
        },
        id_list="pascal_person_part_trainval_list/{split}_id.txt",
    ),
}


def write_layout(root: Path, layout: Layout, values: Sequence[Value]) -> Path:
    """Write a folder of random images. Each mask has a vertical stripe of each value.

    Args:
        root: folder to create.
        layout: where the files lie.
        values: label values of the masks, or colors.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(0)
    ids = [(split, id) for split, found in layout.ids.items() for id in found]
    for number, (split, id) in enumerate(ids):
        height = 48 + 8 * number
        size = (height, STRIPE * len(values))
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        _save(Image.fromarray(pixels), root / layout.image.format(split=split, id=id))
        stripes = np.repeat(np.array(values, np.uint8), STRIPE, axis=0)
        mask = Image.fromarray(np.repeat(stripes[None], height, axis=0))
        if layout.mode == "P":
            mask = mask.convert("P")
            mask.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
        _save(mask, root / layout.mask.format(split=split, id=id))
        for other in layout.others:
            _save(Image.new("L", size[::-1], 77), root / other.format(split=split, id=id))
    for split, found in layout.ids.items() if layout.id_list else ():
        path = root / layout.id_list.format(split=split)
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(found) + "\n")
    return root


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
