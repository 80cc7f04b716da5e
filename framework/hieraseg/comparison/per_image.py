"""Scores of each image, for other programs."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hieraseg.comparison.counts import read_split
from hieraseg.comparison.rows import Row
from hieraseg.files.writing import write_text
from hieraseg.statistics.overlap import iou, mean_iou

COLUMNS = ("level", "image", "row", "seed", "miou")


def write_per_image(path: Path, rows: Sequence[Row]) -> None:
    """Write the mIoU of each image, level and run as CSV, in the long form.

    A line per level, image, row and seed, as mixed models in R (lme4) read it. A pivot table of one
    level, an image per line and a row per column, is what autorank and scikit-posthocs read.

    The mIoU of an image is the mean over the foreground classes that it has in the target or the
    prediction, which is empty if there are none. Its mean over images is not the mIoU of the split.

    Raises:
        RecipeError: a file of counts is missing or damaged, or rows have other images, classes or
            targets than the first.
        WriteError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_lines(rows))
    write_text(path, text.getvalue())


def _lines(rows: Sequence[Row]) -> Iterator[tuple[int, str, str, int, str]]:
    first = read_split(rows[0])
    for row in rows:
        for level in read_split(row).like(first).levels:
            ious = iou(level.intersection, level.union)[..., level.is_foreground]
            for seed, scores in zip(row.seeds, mean_iou(ious), strict=True):
                for image, score in zip(first.ids, scores, strict=True):
                    shown = "" if np.isnan(score) else f"{score:.9g}"
                    yield level.level, image, row.title, seed, shown
