"""Figures of the images of a store, and of a run."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt, UInt8
from PIL import Image

from hieraseg.console import warn
from hieraseg.data.batches.batch import label_tensor
from hieraseg.data.stores.store import Store
from hieraseg.devices import Fabric
from hieraseg.errors import DataError
from hieraseg.files.writing import write_errors, write_file, write_text
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.bands import predict_classes
from hieraseg.inference.segmenter import Segmenter
from hieraseg.runs.folder import RunFolder
from hieraseg.visualize import draw, palette, undrawable_names
from hieraseg.visualize.curves import draw_curves

CLASSES = "classes.json"
"""Has the classes of each level."""


class Predicted(NamedTuple):
    """An image of a store and its prediction.

    Attributes:
        id: its id.
        image: RGB.
        mask: its labels.
        classes: predicted class per level.
    """

    id: str
    image: UInt8[np.ndarray, "H W 3"]
    mask: UInt[np.ndarray, "H W"]
    classes: Integer[np.ndarray, "levels H W"]


def predict_rows(
    fabric: Fabric, segmenter: Segmenter, store: Store, rows: list[int]
) -> list[Predicted]:
    """Predict some images of a store."""
    segmenter.model.eval()
    predicted = []
    for row in rows:
        image, mask = np.array(store.image(row)), np.array(store.mask(row))
        classes = predict_classes(fabric, segmenter, image, mask.shape)
        predicted.append(Predicted(store.ids[row], image, mask, classes))
    return predicted


def draw_predicted(hierarchy: Hierarchy, predicted: Predicted) -> Image.Image:
    """Draw an image, its targets and its prediction (see `visualize.draw`)."""
    targets = hierarchy.encode(label_tensor(predicted.mask), check=False)  # checked when stored
    return draw(predicted.image, predicted.classes, hierarchy, targets.numpy())


def spread_rows(images: int, wanted: int) -> list[int]:
    """Select rows that are spread evenly over a split, the same each time."""
    return np.linspace(0, images - 1, min(wanted, images)).round().astype(int).tolist()


def save_split_figures(
    folder: Path, fabric: Fabric, segmenter: Segmenter, store: Store, count: int
) -> None:
    """Write figures of some images of a split as `<id>.png`.

    Args:
        folder: folder to write to, and to sub-folders of it for ids such as `aachen/0001`.
        fabric: the device.
        segmenter: the model.
        store: the images of the split, resized by `segmenter.seen`.
        count: number of images, spread evenly over the split.

    Raises:
        DataError: an id would leave the folder.
        WriteError: a figure cannot be written.
    """
    rows = spread_rows(len(store), count)
    paths = [output_path(folder, store.ids[row], ".png") for row in rows]
    for path, one in zip(paths, predict_rows(fabric, segmenter, store, rows), strict=True):
        save_png(path, draw_predicted(segmenter.hierarchy, one))
    if undrawable_names(segmenter.hierarchy):
        write_class_names(folder, segmenter.hierarchy)


def save_run_figures(
    folder: RunFolder, fabric: Fabric, segmenter: Segmenter, store: Store, count: int
) -> None:
    """Write the figures of a run that is finished: curves, and images of its validation split.

    A run has its result by then, so that a failure is no more than a warning.
    """
    try:
        lines = folder.metrics.read_text(encoding="utf-8").splitlines()
        save_png(folder.figures / "curves.png", draw_curves([json.loads(line) for line in lines]))
        save_split_figures(folder.figures / "val", fabric, segmenter, store, count)
    except Exception as error:  # whatever it is, it must not lose the run
        warn(f"{folder.figures}: figures cannot be drawn ({error}); the run is complete")


def output_path(folder: Path, id: str, suffix: str) -> Path:
    """Path of an output that belongs to an image. Ids such as `aachen/0001` make sub-folders.

    Args:
        folder: folder of all outputs.
        id: id of the image. An ending such as `.png` is part of it, and stays.
        suffix: rest of the file's name.

    Raises:
        DataError: the path is not in the folder.
    """
    path = folder / f"{id}{suffix}"
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{id}: outputs of this image would not be in {folder}; rename it")
    return path


def save_png(path: Path, image: Image.Image) -> None:
    """Write a PNG file and the folders that it is in.

    Raises:
        WriteError: it cannot be written.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Pillow's default, 6, takes 2.5 times as long on pictures, and saves 2 % of the bytes.
    level = 3 if image.mode == "RGB" else 6
    write_file(path, lambda unfinished: image.save(unfinished, "PNG", compress_level=level))


def write_class_names(folder: Path, hierarchy: Hierarchy) -> None:
    """Write the classes of each level to `classes.json`, in the order of their index.

    `level<l>` has their names, `colors` those of the palette as `#rrggbb`, and `parents` the index
    of the parent of each class on the level above. A warning says for which classes figures have an
    index instead of a name.

    Raises:
        WriteError: it cannot be written.
    """
    path = folder / CLASSES
    levels = [f"level{level}" for level in range(1, hierarchy.num_levels + 1)]
    parents = [one.tolist() for one in hierarchy.parents]
    content = {
        **dict(zip(levels, hierarchy.level_names, strict=True)),
        "parents": dict(zip(levels[1:], parents[1:], strict=True)),
        "colors": {
            level: ["#{:02x}{:02x}{:02x}".format(*color) for color in colors]
            for level, colors in zip(levels, palette(hierarchy), strict=True)
        },
        "background": hierarchy.background,
    }
    with write_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    missing = undrawable_names(hierarchy)
    if missing:
        warn(
            f"no installed font has the characters of {len(missing)} class names, such "
            f"as {missing[0]!r}; figures show their indices, which {path} explains"
        )
