"""Job: predict images of the user with a run's model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image

from hieraseg.console import progress
from hieraseg.data.images import read_image, resize
from hieraseg.errors import DataError, RecipeError, first_few
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.segmenter import predict_batch
from hieraseg.runs.files import write_json
from hieraseg.runs.loading import LoadedRun, load_run
from hieraseg.visualize import draw, palette


def predict(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    checkpoint: str = "best",
    device: str = "auto",
    tta: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Predict images at their own size.

    For each image: `<stem>_level<l>.png`, the class indices of level l as a palette PNG, and
    `<stem>.png`, a figure with a legend. `classes.json` lists the classes of each level.

    Args:
        run: the run folder.
        images: image files, or folders of which all images are taken.
        out: folder to write to.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        tta: settings of `Evaluation` that replace those of the recipe, such as `flip`.

    Returns:
        The figures.

    Raises:
        RecipeError: there is no such run or checkpoint, or two images have the same name.
        DataError: images cannot be read; all others are predicted before it is raised.
    """
    files = _image_files(images)
    loaded = load_run(run, checkpoint, device, tta)
    hierarchy = loaded.segmenter.hierarchy
    out = Path(out)
    _check_outputs(files, out, hierarchy.num_levels)
    out.mkdir(parents=True, exist_ok=True)
    levels = enumerate(hierarchy.level_names, 1)
    write_json(out / "classes.json", {f"level{level}": names for level, names in levels})
    written, problems = [], []
    for file in progress(files, "predicting", len(files)):
        try:
            image = read_image(file, apply_exif_orientation=True)
        except DataError as error:
            problems.append(str(error))
            continue
        written.append(_write(out, file, image, _classes(loaded, image), hierarchy))
    if problems:
        raise DataError(first_few(problems, f"of {len(files)} images cannot be read"))
    return written


def _classes(loaded: LoadedRun, image: UInt8[np.ndarray, "H W 3"]) -> Int[np.ndarray, "levels H W"]:
    """One class per level and pixel, at the size of the image."""
    height, width = loaded.metadata["size"]
    pixels = resize(image, (height, width), Image.Resampling.BILINEAR)
    batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(loaded.fabric.device)
    predictions = predict_batch(loaded.fabric, loaded.segmenter, batch)
    scores = loaded.segmenter.scores(predictions, image.shape[:2])
    return loaded.segmenter.rule(scores)[0].cpu().numpy()


def _image_files(given: Sequence[str | Path]) -> list[Path]:
    known = set(Image.registered_extensions())
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in known)
            if not found:
                raise DataError(f"{path}: has no images; name image files or a folder of them")
            files += found
        else:
            files.append(path)
    return files


def _check_outputs(files: Sequence[Path], out: Path, levels: int) -> None:
    """Raise RecipeError if an output would be written twice, or overwrite an image."""
    sources: dict[Path, Path] = {}
    given = {file.resolve() for file in files}
    for file in files:
        for target in (_figure(out, file), *_class_maps(out, file, levels)):
            twin = sources.setdefault(target, file)
            if twin is not file:
                raise RecipeError(
                    f"{file} and {twin} would both write {target}; predict into two folders"
                )
            if target.resolve() in given:
                raise RecipeError(f"{target} is an image to predict; choose another --out")


def _figure(out: Path, file: Path) -> Path:
    return out / f"{file.stem}.png"


def _class_maps(out: Path, file: Path, levels: int) -> list[Path]:
    return [out / f"{file.stem}_level{level + 1}.png" for level in range(levels)]


def _write(
    out: Path, file: Path, image: np.ndarray, classes: np.ndarray, hierarchy: Hierarchy
) -> Path:
    """Write the class map of each level and the figure of an image; returns the figure."""
    targets = _class_maps(out, file, hierarchy.num_levels)
    for level, colors in enumerate(palette(hierarchy)):
        # A palette PNG holds 256 classes; 16 bits hold more, without colors.
        if len(colors) <= 256:
            mask = Image.fromarray(classes[level].astype(np.uint8))
            mask.putpalette(np.array(colors, np.uint8).tobytes())
        else:
            mask = Image.fromarray(classes[level].astype(np.uint16))
        mask.save(targets[level])
    figure = _figure(out, file)
    draw(image, classes, hierarchy).save(figure)
    return figure
