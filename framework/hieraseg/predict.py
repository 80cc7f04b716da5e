"""The third job: answer for images of the user's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hieraseg.console import progress
from hieraseg.data.images import read_image, resize
from hieraseg.errors import DataError, RecipeError, first_few
from hieraseg.hierarchy import Hierarchy
from hieraseg.metrics.scoring import answer
from hieraseg.processes import start_fabric
from hieraseg.runs.folder import RunFolder, write_json
from hieraseg.runs.loading import load_segmenter, with_views
from hieraseg.visualize import draw, palette


def predict(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    checkpoint: str = "best",
    device: str = "auto",
    views: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write what a run's model answers for some images, at their own size.

    For each image: `<stem>_level<l>.png`, class indices of level l as a palette PNG, and
    `<stem>.png`, a picture with a legend. `classes.json` lists the classes of each level.

    Args:
        run: the run folder.
        images: files, or folders whose images are all taken.
        out: folder to write to.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        views: settings of `Evaluation` that replace the run's own, such as `flip`.

    Returns:
        The pictures written.

    Raises:
        RecipeError: no such run or checkpoint, or two images of one name.
        DataError: images that cannot be read; the others are answered first.
    """
    files = _image_files(images)
    folder = RunFolder.open(run)
    recipe = with_views(folder.load_recipe(), views or {})
    fabric = start_fabric(device, recipe.training.precision)
    segmenter, about = load_segmenter(folder, recipe, checkpoint, fabric)
    height, width = about["size"]
    out = Path(out)
    _check_targets(files, out, segmenter.hierarchy.num_levels)
    out.mkdir(parents=True, exist_ok=True)
    levels = enumerate(segmenter.hierarchy.level_names, 1)
    write_json(out / "classes.json", {f"level{level}": names for level, names in levels})
    written, problems = [], []
    for file in progress(files, "predicting", len(files)):
        try:
            image = read_image(file)
        except DataError as error:
            problems.append(str(error))
            continue
        pixels = resize(image, (height, width), Image.Resampling.BILINEAR)
        batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(fabric.device)
        scores = segmenter.scores(answer(fabric, segmenter, batch), image.shape[:2])
        classes = segmenter.rule(scores)[0].cpu().numpy()
        written.append(_write(out, file, image, classes, segmenter.hierarchy))
    if problems:
        raise DataError(first_few(problems, f"of {len(files)} images cannot be read"))
    return written


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


def _check_targets(files: Sequence[Path], out: Path, levels: int) -> None:
    """No file is written twice, and no image is overwritten."""
    sources: dict[Path, Path] = {}
    given = {file.resolve() for file in files}
    for file in files:
        for target in (_picture(out, file), *_class_maps(out, file, levels)):
            twin = sources.setdefault(target, file)
            if twin is not file:
                raise RecipeError(
                    f"{file} and {twin} would both write {target}; predict into two folders"
                )
            if target.resolve() in given:
                raise RecipeError(f"{target} is an image to predict; choose another --out")


def _picture(out: Path, file: Path) -> Path:
    return out / f"{file.stem}.png"


def _class_maps(out: Path, file: Path, levels: int) -> list[Path]:
    return [out / f"{file.stem}_level{level + 1}.png" for level in range(levels)]


def _write(
    out: Path, file: Path, image: np.ndarray, classes: np.ndarray, hierarchy: Hierarchy
) -> Path:
    targets = _class_maps(out, file, hierarchy.num_levels)
    for level, colours in enumerate(palette(hierarchy)):
        # A palette PNG holds 256 classes; 16 bits hold more, without colours.
        if len(colours) <= 256:
            mask = Image.fromarray(classes[level].astype(np.uint8))
            mask.putpalette(np.array(colours, np.uint8).tobytes())
        else:
            mask = Image.fromarray(classes[level].astype(np.uint16))
        mask.save(targets[level])
    picture = _picture(out, file)
    draw(image, classes, hierarchy).save(picture)
    return picture
