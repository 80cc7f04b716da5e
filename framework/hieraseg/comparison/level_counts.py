"""Pixels of each image that the scores of a level are computed from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int64

from hieraseg.errors import RecipeError
from hieraseg.runs.counts import COUNTS
from hieraseg.statistics.overlap import iou, mean_iou


@dataclass(frozen=True)
class LevelCounts:
    """Pixels of each class of a level, per run and image.

    Attributes:
        level: the level, from 1 for the coarsest.
        classes: names of the C classes.
        is_foreground: mask of the classes that are not background.
        intersection: pixels that are predicted correctly.
        predicted: pixels that are predicted.
        truth: pixels of the target.
    """

    level: int
    classes: list[str]
    is_foreground: Bool[np.ndarray, " C"]
    intersection: Int64[np.ndarray, "runs N C"]
    predicted: Int64[np.ndarray, "runs N C"]
    truth: Int64[np.ndarray, "runs N C"]

    @property
    def union(self) -> Int64[np.ndarray, "runs N C"]:
        """Pixels that are in the target or predicted."""
        return self.predicted + self.truth - self.intersection

    def iou(self) -> Float[np.ndarray, "runs C"]:
        """IoU of each class over all images; NaN if it is neither in the target nor predicted."""
        return iou(self.intersection.sum(1), self.union.sum(1))

    def miou(self) -> Float[np.ndarray, " runs"]:
        """Mean over the IoU of the classes that are not background; NaN if none has one."""
        return mean_iou(self.iou()[:, self.is_foreground])


@dataclass(frozen=True)
class SplitCounts:
    """Counts of all levels.

    Attributes:
        name: whose they are, for messages: a run folder or the title of a row.
        ids: ids of the N images.
        levels: counts per level, coarsest first.
    """

    name: str
    ids: list[str]
    levels: list[LevelCounts]

    def like(self, other: "SplitCounts") -> "SplitCounts":
        """These counts with the images and classes in the order of others.

        Raises:
            RecipeError: the others have other images, classes or targets.
        """
        _check_same(self, other, "images", self.ids, other.ids)
        images = _order(self.ids, other.ids)
        if len(self.levels) != len(other.levels):
            raise _refused(self, other, f"{len(self.levels)} and {len(other.levels)} levels")
        levels = []
        for level, expected in zip(self.levels, other.levels, strict=True):
            what = f"classes on level {level.level}"
            _check_same(self, other, what, level.classes, expected.classes)
            classes = _order(level.classes, expected.classes)
            arrays = {name: getattr(level, name)[:, images][..., classes] for name in COUNTS}
            if (arrays["truth"] != expected.truth[0]).any():
                raise _refused(self, other, f"other target pixels on level {level.level}")
            if (level.is_foreground[classes] != expected.is_foreground).any():
                raise _refused(self, other, "other background")
            names, is_foreground = expected.classes, expected.is_foreground
            levels.append(LevelCounts(level.level, names, is_foreground, **arrays))
        return replace(self, ids=other.ids, levels=levels)


def _order(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    places = {name: place for place, name in enumerate(names)}
    return [places[name] for name in wanted]


def _check_same(
    one: SplitCounts, other: SplitCounts, what: str, names: Sequence[str], expected: Sequence[str]
) -> None:
    only = set(names) ^ set(expected)
    if only:
        raise _refused(one, other, f"other {what} (only one of them has {min(only)!r})")


def _refused(one: SplitCounts, other: SplitCounts, problem: str) -> RecipeError:
    return RecipeError(
        f"{one.name}: cannot be compared with {other.name} image by image: {problem}; "
        "evaluate both on the same data by the same protocol"
    )
