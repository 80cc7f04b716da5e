"""Which images of a split are shown: by a rule, so that none is picked by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hieraseg.comparison.counts import read_split
from hieraseg.comparison.level_counts import LevelCounts, SplitCounts
from hieraseg.comparison.rows import Row
from hieraseg.errors import HierasegError
from hieraseg.runs.finished import FinishedRun
from hieraseg.statistics.overlap import iou, mean_iou


class Chosen(NamedTuple):
    """An image that is shown.

    Attributes:
        place: its place in the split, from 0.
        differs: whether it was chosen because the runs differ on it.
    """

    place: int
    differs: bool


@dataclass(frozen=True)
class Choice:
    """The images that are shown.

    Attributes:
        images: the images.
        ids: their ids.
        total: number of images in the split.
        accuracy: fraction of the pixels of each image that the run of a row predicts correctly on
            each level, by the title of the row, as far as it is known.
        problems: why it is not known of the other rows.
    """

    images: Sequence[Chosen]
    ids: Sequence[str]
    total: int
    accuracy: Mapping[str, Float[np.ndarray, "images levels"]]
    problems: Sequence[str]


def shown_run(row: Row) -> FinishedRun:
    """The run of a row whose predictions are shown: that of the first seed."""
    return min(row.runs, key=lambda run: run.seed)


def choose_images(rows: Sequence[Row], count: int) -> Choice:
    """Choose images by their mIoU on the finest level (see `choose`).

    Rows are left out of the choice if their counts cannot be read, or are of other images,
    classes or targets than those of the first row.
    """
    counts: dict[str, SplitCounts] = {}
    problems = []
    for row in rows:
        try:
            own = read_split(replace(row, runs=(shown_run(row),)))
            counts[row.title] = own.like(next(iter(counts.values()), own))
        except HierasegError as error:
            problems.append(str(error))
    if not counts:
        return Choice([], [], 0, {}, problems)
    images = choose(np.stack([_image_miou(split.levels[-1]) for split in counts.values()]), count)
    indices = [image.place for image in images]
    ids = next(iter(counts.values())).ids
    accuracy = {title: _accuracy(split.levels, indices) for title, split in counts.items()}
    return Choice(images, [ids[index] for index in indices], len(ids), accuracy, problems)


def choose(scores: Float[np.ndarray, "runs N"], count: int) -> list[Chosen]:
    """Choose images: half of them spread evenly over the split, half where runs differ most.

    Args:
        scores: score of each image by each run; NaN where it is not defined.
        count: number of images.

    Returns:
        The images that are spread evenly, in the order of the split; then the others, largest
        difference first. Images on which the runs agree are not chosen for a difference.
    """
    is_defined = ~np.isnan(scores).any(axis=0)
    gaps = np.where(is_defined, np.ptp(np.nan_to_num(scores), axis=0), 0.0)
    by_gap = [index for index in np.argsort(-gaps, kind="stable").tolist() if gaps[index] > 0]
    differing = by_gap[: count // 2]
    rest = sorted(set(range(len(gaps))) - set(differing))
    wanted = min(count - len(differing), len(rest))
    places = np.linspace(0, len(rest) - 1, wanted).round().astype(int).tolist()
    spread = [Chosen(rest[index], False) for index in places]
    return spread + [Chosen(index, True) for index in differing]


def _image_miou(level: LevelCounts) -> Float[np.ndarray, " N"]:
    """mIoU of each image; NaN for one without foreground."""
    ious = iou(level.intersection[0], level.union[0])
    return mean_iou(ious[:, level.is_foreground])


def _accuracy(
    levels: Sequence[LevelCounts], indices: Sequence[int]
) -> Float[np.ndarray, "images levels"]:
    """Fraction of the pixels of some images that are predicted correctly; NaN without target."""
    correct = np.stack([level.intersection[0, indices].sum(-1) for level in levels], axis=-1)
    known = np.stack([level.truth[0, indices].sum(-1) for level in levels], axis=-1)
    return np.where(known > 0, correct / np.maximum(known, 1), np.nan)
