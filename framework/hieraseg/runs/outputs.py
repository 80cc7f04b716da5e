"""The files that are written of the prediction of an image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hieraseg.data.finding import ImageFile
from hieraseg.errors import RecipeError
from hieraseg.files.writing import write_file
from hieraseg.runs.figures import CLASSES, output_path, save_png
from hieraseg.runs.segmentation import Segmentation

INDEX = "predictions.json"
"""Lists the files of each image."""


@dataclass(frozen=True)
class Outputs:
    """What is written of each image, beside a class map per level.

    Args:
        figures: `<stem>.png`, a figure of the image and the classes of each level, with a legend.
        overlays: `<stem>_overlay<l>.png` per level, the image under the colors of the classes, at
            its own size.
        scores: `<stem>_scores.npz` with the scores of all classes, a float16 array `[C_l, H, W]`
            per level, `level1` and so on.
    """

    figures: bool = True
    overlays: bool = False
    scores: bool = False


@dataclass(frozen=True)
class ImageOutputs:
    """The files of an image.

    Attributes:
        image: the image.
        classes: `<stem>_level<l>.png` per level, the class indices, as a PNG with a palette (of 16
            bits for more than 256 classes).
        figure, overlays, scores: see `Outputs`; None or empty if they are not written.
    """

    image: Path
    classes: list[Path]
    figure: Path | None = None
    overlays: Sequence[Path] = ()
    scores: Path | None = None

    def files(self) -> list[Path]:
        """All files."""
        single = [one for one in (self.figure, self.scores) if one is not None]
        return [*self.classes, *self.overlays, *single]

    def to_json(self, folder: Path | None = None) -> dict[str, Any]:
        """The files by what they are; their paths are relative to the folder, if there is one."""

        def shown(path: Path) -> str:
            return str(path if folder is None else path.relative_to(folder))

        found: dict[str, Any] = {"image": str(self.image)}
        found["classes"] = list(map(shown, self.classes))
        if self.figure is not None:
            found["figure"] = shown(self.figure)
        if self.overlays:
            found["overlays"] = list(map(shown, self.overlays))
        if self.scores is not None:
            found["scores"] = shown(self.scores)
        return found


def plan_outputs(
    files: Sequence[ImageFile], out: Path, levels: int, outputs: Outputs
) -> list[ImageOutputs]:
    """The files of each image. Sub-folders are kept: those of `a/b.jpg` are in `<out>/a`.

    Args:
        files: the images.
        out: folder to write to.
        levels: number of levels.
        outputs: what is written.

    Raises:
        DataError: an output would not be in the folder.
        RecipeError: an output would be written twice, or replace a file of the user.
    """
    planned = [_plan(file, out, levels, outputs) for file in files]
    sources: dict[Path, Path] = {}
    folder_of = cache(Path.resolve)  # there are fewer folders than files
    places = {folder_of(file.path.parent) / file.path.name for file in files}
    given = {path.resolve() if path.is_symlink() else path for path in places} | places
    folders = {path.parent for path in given}
    for target in (out / CLASSES, out / INDEX):
        if folder_of(out) in folders and target.exists():
            raise RecipeError(f"{target} exists beside the images; choose another --out")
    for one in planned:
        folder = folder_of(one.classes[0].parent)
        for target in one.files():
            twin = sources.setdefault(target, one.image)
            if twin is not one.image:
                raise RecipeError(
                    f"{one.image} and {twin} would both write {target}; predict into two folders"
                )
            if folder / target.name in given:
                raise RecipeError(f"{target} is an image to predict; choose another --out")
            if folder in folders and target.exists():
                raise RecipeError(f"{target} exists beside the images; choose another --out")
    return planned


def _plan(file: ImageFile, out: Path, levels: int, outputs: Outputs) -> ImageOutputs:
    stem = output_path(out, file.id, "")

    def path(suffix: str) -> Path:
        return stem.with_name(f"{stem.name}{suffix}")

    def per_level(what: str) -> list[Path]:
        return [path(f"_{what}{level}.png") for level in range(1, levels + 1)]

    return ImageOutputs(
        file.path,
        per_level("level"),
        path(".png") if outputs.figures else None,
        per_level("overlay") if outputs.overlays else (),
        path("_scores.npz") if outputs.scores else None,
    )


def write_outputs(planned: ImageOutputs, result: Segmentation) -> None:
    """Write the files of an image, each of them whole.

    Raises:
        WriteError: a file cannot be written.
    """
    for level, path in enumerate(planned.classes, 1):
        save_png(path, result.class_map(level))
    for level, path in enumerate(planned.overlays, 1):
        save_png(path, result.overlay(level))
    if planned.scores is not None:
        levels = dict(_float16(result))
        write_file(planned.scores, lambda path: _save_npz(path, levels))
    if planned.figure is not None:
        save_png(planned.figure, result.draw())


def _float16(result: Segmentation) -> Iterator[tuple[str, np.ndarray]]:
    for number, scores in enumerate(result.scores, 1):
        yield f"level{number}", scores.astype(np.float16)


def _save_npz(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:  # np.savez would append a suffix to a path
        np.savez_compressed(file, **arrays)
