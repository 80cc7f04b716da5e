"""A run's model, which predicts images of any kind and size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hieraseg.data.arrays import ImageLike, as_rgb
from hieraseg.data.images import resize
from hieraseg.data.shapes import resized_shape
from hieraseg.errors import DivergedError
from hieraseg.files.paths import expanded
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.bands import predict_classes
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.recipe import Recipe
from hieraseg.runs.loading import LoadedRun, load_run
from hieraseg.runs.segmentation import Segmentation


class Prepared(NamedTuple):
    """An image that is read.

    Attributes:
        image: RGB.
        seen: the same, resized for the model.
    """

    image: UInt8[np.ndarray, "H W 3"]
    seen: UInt8[np.ndarray, "_ _ 3"]


class Predictor:
    """The model of a run, as `hieraseg.load` returns it.

    Args:
        loaded: the run.
    """

    def __init__(self, loaded: LoadedRun) -> None:
        self._loaded = loaded

    @property
    def hierarchy(self) -> Hierarchy:
        """The class tree."""
        return self._loaded.segmenter.hierarchy

    @property
    def names(self) -> list[list[str]]:
        """Class names per level, by index."""
        return self.hierarchy.level_names

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run, with the evaluation settings that are used."""
        return self._loaded.recipe

    @property
    def model(self) -> SegmentationModel:
        """The `torch.nn.Module`: RGB images `[B, 3, H, W]` in 0..1 -> `Prediction`."""
        return cast(SegmentationModel, self._loaded.segmenter.model)

    def predict(self, image: ImageLike | Prepared, scores: bool = True) -> Segmentation:
        """Predict an image at its own size, as `hieraseg predict` does.

        Args:
            image: path, Pillow image, array or tensor (see `as_rgb`); or what `prepare` returned.
            scores: whether to return the scores of all classes, 4 bytes per class and pixel.

        Raises:
            DataError: the image cannot be read, or its type, shape or range has no rule.
            DivergedError: the model predicts scores that are not finite.
        """
        if not isinstance(image, Prepared):
            image = self.prepare(image)
        loaded, size = self._loaded, image.image.shape[:2]
        loaded.segmenter.model.eval()
        levels = self.hierarchy.num_classes if scores else []
        found = [np.empty((classes, *size), np.float32) for classes in levels]
        try:
            classes = predict_classes(
                loaded.fabric, loaded.segmenter, image.seen, size, image.image, found
            )
        except DivergedError as error:
            raise DivergedError(
                f"{loaded.folder.path}: {error}; use its other checkpoint, or run the recipe again"
            ) from error
        return Segmentation(image.image, self.hierarchy, classes, found)

    def prepare(self, image: ImageLike) -> Prepared:
        """Read an image, and resize it for the model. Threads may do so while others predict.

        Raises:
            DataError: as in `predict`.
        """
        pixels = as_rgb(image)
        size = resized_shape(pixels.shape[:2], self._loaded.segmenter.seen)
        return Prepared(pixels, resize(pixels, size, Image.Resampling.BILINEAR))

    def __repr__(self) -> str:
        path, epoch = self._loaded.folder.path, self._loaded.metadata["epoch"]
        sizes = ", ".join(map(str, self.hierarchy.num_classes))
        return f"Predictor({path}, epoch {epoch}, levels of {sizes} classes)"


def load(
    run: str | Path,
    checkpoint: str = "best",
    device: str = "auto",
    evaluation: Mapping[str, Any] | None = None,
    run_plugins: bool = True,
) -> Predictor:
    """Load the model of a run.

    Args:
        run: the run folder.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        evaluation: settings that replace those of the recipe's section `evaluation`, as in
            `{"flip": True, "scales": (0.5, 1.0)}` or `{"window": (512, 512)}`.
        run_plugins: whether plugin files of the run folder may be run.

    Raises:
        RecipeError: there is no such run, checkpoint or setting, or CUDA is requested but not
            available.
    """
    return Predictor(load_run(expanded(run), checkpoint, device, evaluation, run_plugins))
