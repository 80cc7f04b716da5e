"""What trackers get of a validation: numbers, predictions of images, and confusion matrices."""

from typing import Any, NamedTuple, cast

import numpy as np

from hieraseg.hierarchy import Hierarchy
from hieraseg.metrics import Counts
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.runs.figures import Predicted, draw_predicted, predict_rows, spread_rows
from hieraseg.training.cost import peak_memory
from hieraseg.training.scalars import learning_rates, scalars
from hieraseg.training.setup import Parts
from hieraseg.training.state import State
from hieraseg.training.trackers import Trackers
from hieraseg.visualize.confusion import draw_confusion


class Tracked(NamedTuple):
    """What there is to log of a validation, as it was then; pictures are drawn later.

    Attributes:
        step: step of the run.
        numbers: numbers by name.
        predicted: predictions of some validation images, always the same ones.
        counts: counts of `val`, among them confusion matrices.
    """

    step: int
    numbers: dict[str, float]
    predicted: list[Predicted]
    counts: Counts


def tracked(
    parts: Parts, state: State, record: dict[str, Any], counts: Counts, with_images: bool
) -> Tracked:
    """What there is to log now.

    Args:
        parts: the parts of the run.
        state: its state.
        record: as `Meter.record` gives it, with the scores of `val`.
        counts: counts of `val`.
        with_images: whether pictures are of use to any tracker.
    """
    model = cast(SegmentationModel, state.model)
    numbers = scalars(record) | learning_rates(state.optimizer, model.parts())
    memory = peak_memory(parts.fabric.device)
    if memory is not None:
        numbers["memory/peak_gib"] = memory / 2**30
    predicted = list[Predicted]()
    if with_images:
        store = parts.stores["val"]
        rows = spread_rows(len(store), parts.recipe.logging.images)
        predicted = predict_rows(parts.fabric, parts.segmenter, store, rows)
    return Tracked(record["step"], numbers, predicted, counts if with_images else {})


def log_tracked(trackers: Trackers, hierarchy: Hierarchy, tracked: Tracked) -> None:
    """Log it. This may take place in a thread."""
    step = tracked.step
    trackers.log_metrics(tracked.numbers, step)
    for one in tracked.predicted:
        figure = np.asarray(draw_predicted(hierarchy, one))
        trackers.log_image(f"predictions/{one.id}", figure, step)
    for level, names in enumerate(hierarchy.level_names, 1):
        matrix = tracked.counts.get(f"confusion_{level}")
        if matrix is not None:
            figure = np.asarray(draw_confusion(matrix, names, f"validation, level {level}"))
            trackers.log_image(f"confusion/level_{level}", figure, step)
