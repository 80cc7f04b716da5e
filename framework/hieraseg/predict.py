"""Job: predict images of the user with a run's model."""

import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from hieraseg.console import progress
from hieraseg.data.finding import ImageFile, find_images
from hieraseg.data.images import read_image, resize
from hieraseg.data.shapes import resized_shape
from hieraseg.errors import (
    DataError,
    DivergedError,
    RecipeError,
    WriteError,
    exhausted_memory,
    first_few,
)
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.bands import predict_classes
from hieraseg.runs.figures import output_path, save_png, write_class_names
from hieraseg.runs.loading import LoadedRun, load_run
from hieraseg.visualize import draw, palette


def predict(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    checkpoint: str = "best",
    device: str = "auto",
    tta: Mapping[str, Any] | None = None,
    run_plugins: bool = True,
    on_written: Callable[[Path], Any] = lambda figure: None,
) -> list[Path]:
    """Predict images at their own size.

    For each image: `<stem>_level<l>.png`, the class indices of level l as a palette PNG, and
    `<stem>.png`, a figure with a legend. Sub-folders of a folder are kept: `<folder>/a/b.jpg`
    becomes `<out>/a/b.png`. `classes.json` lists the classes of each level.

    Args:
        run: the run folder.
        images: image files, or folders of which all images are taken (see `find_images`).
        out: folder to write to. It is not searched for images.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        tta: settings of `Evaluation` that replace those of the recipe, such as `flip`.
        run_plugins: whether plugin files of the run folder may be run.
        on_written: called with each figure when it is written.

    Returns:
        The figures.

    Raises:
        RecipeError: there is no such run or checkpoint, or an output would replace an image or
            another output.
        DataError: images cannot be read, or need more memory than there is; all others are
            predicted before it is raised.
        WriteError: an output cannot be written.
    """
    out = Path(out)
    files, problems = find_images(images, excluded=out)
    loaded = load_run(run, checkpoint, device, tta, run_plugins)
    hierarchy = loaded.segmenter.hierarchy
    _check_outputs(files, out, hierarchy.num_levels)
    write_class_names(out, hierarchy)
    written: list[Path] = []
    for file in progress(files, "predicting", len(files)):
        try:
            image = read_image(file.path)
            classes = _classes(loaded, image)
            figure = _write(out, file, image, classes, hierarchy)
        except Exception as error:  # `_problem` raises what is no fault of the image
            problems.append(_problem(error, file.path))
            continue
        written.append(figure)
        on_written(figure)
    if problems:
        total = len(written) + len(problems)
        what = f"of {total} images cannot be predicted"
        raise DataError(first_few(problems, what, shown=100))
    return written


def _problem(error: Exception, file: Path) -> str:
    """What keeps an image from being predicted; any other error is raised again."""
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, WriteError) and _errno(error) == errno.ENAMETOOLONG:
        return f"{error}; shorten the name of {file}"
    memory = exhausted_memory(error)
    if memory is None:
        raise error
    with Image.open(file) as image:  # reads the size, not the pixels
        size = f"{image.width} x {image.height}"
    other = ", or predict it with --device cpu" if memory == "GPU" else ""
    return f"{file}: {size} pixels need more {memory} memory than there is; reduce it{other}"


def _errno(error: WriteError) -> int | None:
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None


def _classes(
    loaded: LoadedRun, image: UInt8[np.ndarray, "H W 3"]
) -> Integer[np.ndarray, "levels H W"]:
    """One class per level and pixel, at the size of the image."""
    size = image.shape[:2]
    seen = resize(image, resized_shape(size, loaded.segmenter.seen), Image.Resampling.BILINEAR)
    try:
        return predict_classes(loaded.fabric, loaded.segmenter, seen, size, image)
    except DivergedError as error:
        raise DivergedError(
            f"{loaded.folder.path}: {error}; use its other checkpoint, or run the recipe again"
        ) from error


def _check_outputs(files: Sequence[ImageFile], out: Path, levels: int) -> None:
    """Raise RecipeError if an output would be written twice, or replace a file of the user."""
    sources: dict[Path, Path] = {}
    given = {file.path.resolve() for file in files}
    folders = {path.parent for path in given}
    for file in files:
        for target in (_figure(out, file), *_class_maps(out, file, levels)):
            twin = sources.setdefault(target, file.path)
            if twin is not file.path:
                raise RecipeError(
                    f"{file.path} and {twin} would both write {target}; predict into two folders"
                )
            if target.resolve() in given:
                raise RecipeError(f"{target} is an image to predict; choose another --out")
            if target.parent.resolve() in folders and target.exists():
                raise RecipeError(f"{target} exists beside the images; choose another --out")


def _figure(out: Path, file: ImageFile) -> Path:
    return output_path(out, file.id, ".png")


def _class_maps(out: Path, file: ImageFile, levels: int) -> list[Path]:
    return [output_path(out, file.id, f"_level{level + 1}.png") for level in range(levels)]


def _write(
    out: Path,
    file: ImageFile,
    image: UInt8[np.ndarray, "H W 3"],
    classes: Integer[np.ndarray, "levels H W"],
    hierarchy: Hierarchy,
) -> Path:
    """Write the class map of each level and the figure of an image; returns the figure."""
    figure = _figure(out, file)
    drawn = draw(image, classes, hierarchy)
    targets = _class_maps(out, file, hierarchy.num_levels)
    for target, indices, colors in zip(targets, classes, palette(hierarchy), strict=True):
        # A palette PNG holds 256 classes; 16 bits hold more, without colors.
        if len(colors) <= 256:
            mask = Image.fromarray(indices.astype(np.uint8, copy=False))
            mask.putpalette(np.array(colors, np.uint8).tobytes())
        else:
            mask = Image.fromarray(indices.astype(np.uint16))
        save_png(target, mask)
    save_png(figure, drawn)
    return figure
