"""Predictions of chosen images by a run, in a size that fits a page."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Integer, UInt8
from PIL import Image
from torch import Tensor

from hieraseg.data.batches.batch import label_tensor
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.images import resize
from hieraseg.hierarchy import Hierarchy
from hieraseg.metrics import PixelCounts, summarize
from hieraseg.metrics.protocol import settings_of
from hieraseg.recipe.dataset import build_dataset
from hieraseg.runs.finished import FinishedRun
from hieraseg.runs.predictor import Predictor, load

LONG_SIDE = 320  # pixels


@dataclass(frozen=True)
class Picture:
    """An image, its target, and the prediction of a run, reduced to `LONG_SIDE`.

    Attributes:
        image: RGB.
        target: target class per level, -100 where it is ignored.
        predicted: predicted class per level.
        miou: mIoU of this image on each level, at its own size; None if it is not defined.
        accuracy: fraction of the pixels that are predicted correctly on each level, likewise.
    """

    image: UInt8[np.ndarray, "h w 3"]
    target: Int[np.ndarray, "levels h w"]
    predicted: Integer[np.ndarray, "levels h w"]
    miou: list[float | None]
    accuracy: list[float | None]


class RunPictures:
    """The model of a run, and its data set.

    Attributes:
        hierarchy: the class tree.

    Args:
        run: the run, which is loaded as it was scored: same checkpoint, same protocol.
        run_plugins: whether plugin files of the run folder may be run.

    Raises:
        RecipeError: the run cannot be loaded.
        DataError: its data set cannot be opened.
    """

    def __init__(self, run: FinishedRun, run_plugins: bool) -> None:
        self._predictor: Predictor = load(
            run.path,
            run.scores["checkpoint"],
            evaluation=settings_of(run.key),
            run_plugins=run_plugins,
        )
        self.hierarchy: Hierarchy = self._predictor.hierarchy
        dataset = build_dataset(self._predictor.recipe, self.hierarchy)
        self._dataset = CheckedDataset(dataset, self.hierarchy)

    def of(self, ids: Iterable[str]) -> Iterator[Picture]:
        """Predict images of the data set.

        Raises:
            DataError: an image or mask cannot be read.
            DivergedError: the model predicts scores that are not finite.
        """
        for id in ids:
            image, mask = self._dataset.pair(id)
            target = self.hierarchy.encode(label_tensor(mask))
            predicted = self._predictor.predict(image, scores=False).classes
            levels = _scores(self.hierarchy, torch.from_numpy(predicted.astype(np.int64)), target)
            size = _reduced(mask.shape)
            yield Picture(
                resize(image, size, Image.Resampling.BILINEAR),
                _nearest(target.numpy(), size),
                _nearest(predicted, size),
                [level["miou"] for level in levels],
                [level["pixel_accuracy"] for level in levels],
            )


def _scores(
    hierarchy: Hierarchy, predicted: Int[Tensor, "levels H W"], target: Int[Tensor, "levels H W"]
) -> list[dict[str, float | None]]:
    """Scores of an image on each level."""
    counts = PixelCounts(hierarchy, 1, torch.device("cpu"))
    counts.add(torch.zeros(1, dtype=torch.int64), predicted[None], target[None])
    levels: list[dict[str, float | None]] = summarize(counts.arrays(), hierarchy)["levels"]
    return levels


def _reduced(size: Sequence[int]) -> tuple[int, int]:
    """Height and width of an image whose long side is at most `LONG_SIDE`."""
    factor = min(LONG_SIDE / max(size), 1)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def _nearest(
    classes: Integer[np.ndarray, "levels H W"], size: tuple[int, int]
) -> Int[np.ndarray, "levels h w"]:
    """Class maps in another size."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, classes.shape[1:], strict=True)
    )
    return classes[:, rows][:, :, columns].astype(np.int32)
