"""Section: chosen images with their targets, and what a run of each row predicts."""

from collections.abc import Iterator, Sequence
from typing import Any

from hieraseg.comparison.comparison import Comparison
from hieraseg.hierarchy import Hierarchy
from hieraseg.page.looks import looks
from hieraseg.page.pictures_choosing import Choice, choose_images, shown_run
from hieraseg.page.pictures_encoding import class_maps, jpeg
from hieraseg.page.pictures_predicting import Picture
from hieraseg.page.pictures_rows import Predictions
from hieraseg.page.sections import Section, render
from hieraseg.visualize import palette


def section(comparison: Comparison, images: int = 8, run_plugins: bool = True) -> Section:
    """Images, targets and predictions, with a switch of images, levels and views.

    What cannot be shown has a sentence in its place.

    Args:
        comparison: the rows.
        images: number of images.
        run_plugins: whether plugin files of run folders may be run.
    """
    choice = choose_images(comparison.rows, images)
    predictions = Predictions(choice)
    for row in comparison.rows if choice.ids else ():
        predictions.add(row, run_plugins)
    html = render(
        "pictures.html",
        choice=choice,
        problems=predictions.problems,
        **_values(comparison, choice, predictions),
    )
    return Section("pictures", "Pictures", html, assets=("pictures.css", "pictures.js"))


def _values(comparison: Comparison, choice: Choice, predictions: Predictions) -> dict[str, Any]:
    """What the template needs."""
    if predictions.hierarchy is None:
        return {"images": [], "rows": [], "data": {}}
    shown = [
        (row, look, predictions.of[row.title])
        for row, look in zip(comparison.rows, looks(comparison.rows), strict=True)
        if row.title in predictions.of
    ]
    rows, own_looks, pictures = zip(*shown, strict=True)
    return {
        "images": [
            {"id": id, "differs": one.differs, "src": jpeg(picture.image)}
            for id, one, picture in zip(choice.ids, choice.images, pictures[0], strict=True)
        ],
        "rows": list(zip(own_looks, map(shown_run, rows), strict=True)),
        "reference": rows.index(comparison.baseline) if comparison.baseline in rows else 0,
        "data": {
            "levels": list(_levels(predictions.hierarchy)),
            "images": list(_images(choice.ids, pictures)),
            "rows": [look.name for look in own_looks],
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
