"""Predictions of the chosen images by all rows that can be shown side by side."""

from collections.abc import Sequence

import numpy as np

from hieraseg.comparison.rows import Row
from hieraseg.console import progress
from hieraseg.errors import DataError
from hieraseg.hierarchy import Hierarchy
from hieraseg.page.pictures_choosing import Choice, shown_run
from hieraseg.page.pictures_predicting import Picture, RunPictures
from hieraseg.tracebacks import describe

_SAME = 0.01  # difference in the accuracy of an image that devices and precisions may make


class Predictions:
    """Pictures of the rows that share a class tree and targets.

    Attributes:
        hierarchy: the class tree; None as long as no row is there.
        of: the pictures of each row, by its title.
        problems: a sentence on each row that is not shown, or not as it was scored.

    Args:
        choice: the images.
    """

    def __init__(self, choice: Choice) -> None:
        self.hierarchy: Hierarchy | None = None
        self.of: dict[str, list[Picture]] = {}
        self.problems: list[str] = []
        self._choice = choice

    def add(self, row: Row, run_plugins: bool) -> None:
        """Predict the images with the run of a row that is shown (see `RunPictures`)."""
        ids = self._choice.ids
        try:
            run = RunPictures(shown_run(row), run_plugins)
            title = f"predicting with {row.title}"
            pictures = list(progress(run.of(ids), title, len(ids)))
            self._check(run.hierarchy, pictures)
        except Exception as error:  # code of plugins can fail in any way
            self.problems.append(f"{row.title}: is not shown: {describe(error)}")
            return
        self.hierarchy = self.hierarchy or run.hierarchy
        self.of[row.title] = pictures
        self._compare_with_scores(row, pictures)

    def _check(self, hierarchy: Hierarchy, pictures: Sequence[Picture]) -> None:
        """Raise DataError if the classes or targets are not those of the first row."""
        if self.hierarchy is None:
            return
        if hierarchy.level_names != self.hierarchy.level_names:
            raise DataError("its classes are not those of the first row")
        first = next(iter(self.of.values()))
        for id, own, other in zip(self._choice.ids, pictures, first, strict=True):
            if not np.array_equal(own.target, other.target):
                raise DataError(f"its target of {id} is not that of the first row")

    def _compare_with_scores(self, row: Row, pictures: Sequence[Picture]) -> None:
        """Say so if the predictions are not those that were scored."""
        scored = self._choice.accuracy.get(row.title)
        if scored is None or shown_run(row).scores["resolution"] != "native":
            return
        own = np.array([picture.accuracy for picture in pictures], float)  # None becomes NaN
        gaps = np.nan_to_num(np.abs(own - scored)).max(axis=1)
        worst = int(gaps.argmax())
        if gaps[worst] > _SAME:
            self.problems.append(
                f"{row.title}: these are not quite the predictions that were scored (the accuracy "
                f"of {self._choice.ids[worst]} differs by {gaps[worst]:.3f}), so its data, "
                "checkpoint, code or device is another one"
            )
