"""Section: chosen images with their targets, and what a run of each row predicts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.rows import Row
from hieraseg.console import progress
from hieraseg.errors import DataError
from hieraseg.hierarchy import Hierarchy
from hieraseg.page.looks import looks
from hieraseg.page.pictures_choosing import Choice, choose_images, shown_run
from hieraseg.page.pictures_encoding import class_maps, jpeg
from hieraseg.page.pictures_predicting import Picture, RunPictures
from hieraseg.page.sections import Section, render
from hieraseg.tracebacks import describe
from hieraseg.visualize import palette

_SAME = 0.02  # difference in accuracy that devices and precisions may make


def section(comparison: Comparison, images: int = 8, run_plugins: bool = True) -> Section:
    """Images, targets and predictions, with a switch of images, levels and views.

    What cannot be shown has a sentence in its place.

    Args:
        comparison: the rows.
        images: number of images.
        run_plugins: whether plugin files of run folders may be run.
    """
    choice = choose_images(comparison.rows, images)
    predictions = _Predictions(choice, run_plugins)
    for row in comparison.rows:
        predictions.add(row)
    html = render("pictures.html", choice=choice, **_values(comparison, choice, predictions))
    return Section("pictures", "Pictures", html, assets=("pictures.css", "pictures.js"))


class _Predictions:
    """Pictures of the rows that share a class tree and targets.

    Attributes:
        hierarchy: the class tree; None as long as no row is there.
        of: the pictures of each row, by its title.
        problems: a sentence on each row that is not shown, or not as it was scored.
    """

    def __init__(self, choice: Choice, run_plugins: bool) -> None:
        self.hierarchy: Hierarchy | None = None
        self.of: dict[str, list[Picture]] = {}
        self.problems: list[str] = []
        self._choice = choice
        self._run_plugins = run_plugins

    def add(self, row: Row) -> None:
        """Predict the images by the run of a row that is shown."""
        ids = self._choice.ids
        if not ids:
            return
        try:
            run = RunPictures(shown_run(row), self._run_plugins)
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
        if (np.abs(own - scored) > _SAME).any():
            self.problems.append(
                f"{row.title}: these predictions differ from those that were scored, so that its "
                "data, checkpoint or code has changed since"
            )


def _values(comparison: Comparison, choice: Choice, predictions: _Predictions) -> dict[str, Any]:
    """What the template needs."""
    if predictions.hierarchy is None:
        return {"problems": predictions.problems, "images": [], "rows": [], "data": {}}
    first = next(iter(predictions.of.values()))
    rows = [
        {"title": row.title, "look": look, "run": shown_run(row)}
        for row, look in zip(comparison.rows, looks(comparison.rows), strict=True)
        if row.title in predictions.of
    ]
    baseline = comparison.baseline.title if comparison.baseline else ""
    titles = list(predictions.of)
    return {
        "problems": predictions.problems,
        "images": [
            {"id": id, "differs": one.differs, "src": jpeg(picture.image)}
            for id, one, picture in zip(choice.ids, choice.images, first, strict=True)
        ],
        "rows": rows,
        "reference": titles.index(baseline) if baseline in titles else 0,
        "data": {
            "levels": list(_levels(predictions.hierarchy)),
            "images": list(_images(choice.ids, list(predictions.of.values()))),
            "rows": titles,
        },
    }


def _levels(hierarchy: Hierarchy) -> Iterator[dict[str, Any]]:
    """Names and colors of the classes of each level."""
    for names, colors in zip(hierarchy.level_names, palette(hierarchy), strict=True):
        yield {"names": names, "colors": colors}


def _images(ids: Sequence[str], rows: Sequence[Sequence[Picture]]) -> Iterator[dict[str, Any]]:
    """What scripts need of each image: its class maps, and its scores on each level."""
    for id, *pictures in zip(ids, *rows, strict=True):
        height, width = pictures[0].image.shape[:2]
        yield {
            "id": id,
            "width": width,
            "height": height,
            "target": class_maps(pictures[0].target),
            "rows": [
                {"classes": class_maps(picture.predicted), "miou": picture.miou}
                for picture in pictures
            ],
        }
