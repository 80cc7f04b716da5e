"""How much rows differ from a baseline, and how sure that is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8

from hieraseg.comparison.counts import read_split
from hieraseg.comparison.difference import SIGNIFICANCE, Difference, Verdict
from hieraseg.comparison.level_counts import LevelCounts
from hieraseg.comparison.rows import Row
from hieraseg.errors import RecipeError
from hieraseg.statistics.bootstrap import bootstrap
from hieraseg.statistics.estimate import Scored, estimate
from hieraseg.statistics.holm import holm
from hieraseg.statistics.overlap import Overlap
from hieraseg.statistics.permutation import Swapping
from hieraseg.statistics.resampling import bootstrap_weights, swaps

SEEDS = 3
"""Smallest number of seeds, of both rows, for a verdict."""

RESAMPLES = 10_000
"""Number of bootstrap samples, and of permutations."""


def differences_to(
    rows: Sequence[Row], baseline: Row, per_class: bool = False, resamples: int = RESAMPLES
) -> dict[str, list[Difference]]:
    """Compare rows to a baseline.

    p-values are corrected over all rows and levels; those of classes over the classes of their row,
    since 171 classes of ten rows are more than the p-values of 10,000 permutations can tell apart.
    The same rows give the same numbers, in whatever order they are.

    Args:
        rows: the rows. The baseline may be among them.
        baseline: the row that they are compared to.
        per_class: whether to compare the IoU of each class, too.
        resamples: number of bootstrap samples, and of permutations.

    Returns:
        By the title of each row but the baseline, its differences on each level, coarsest first: of
        the mIoU, then of the classes. Levels and classes that are in no target are left out.

    Raises:
        RecipeError: a file of counts is missing or damaged, or a row has other images, classes or
            targets than the baseline.
    """
    reference = _Baseline(baseline, per_class, resamples)
    others = [row for row in rows if row.title != baseline.title]
    found = [(row, one) for row in others for one in reference.differences(row)]
    families = ["" if one.class_name is None else row.title for row, one in found]
    p = _corrected([one.p for _, one in found], families)
    sizes = Counter(families)
    results: dict[str, list[Difference]] = {row.title: [] for row in others}
    for (row, one), family, corrected in zip(found, families, p, strict=True):
        has_seeds = min(len(row.runs), len(baseline.runs)) >= SEEDS
        has_verdict = has_seeds and is_resolved(sizes[family], reference.images, resamples)
        results[row.title].append(_with_verdict(one, float(corrected), has_verdict))
    return results


def is_resolved(differences: int, images: int, resamples: int = RESAMPLES) -> bool:
    """Whether the smallest p-value that permutations can give is significant when corrected."""
    return differences * max(1 / (resamples + 1), _smallest_p(images)) < SIGNIFICANCE


def _smallest_p(images: int) -> float:
    """Of all 2^N ways to swap N images, swapping none and swapping all give what was found."""
    return 2.0 ** (1 - images)


def limits(differences: Mapping[str, Sequence[Difference]], images: int) -> list[str]:
    """That there are too many differences, or too few images, for verdicts, where there are."""
    classes = [sum(one.class_name is not None for one in of) for of in differences.values()]
    levels = sum(map(len, differences.values())) - sum(classes)
    families = {"levels": levels, "the classes of a row": max(classes, default=0)}
    return [
        f"no verdict on {name}: {_too_few(images, count)}"
        for name, count in families.items()
        if not is_resolved(count, images)
    ]


def _too_few(images: int, differences: int) -> str:
    what = f"{differences:,} difference{'s' * (differences != 1)}"
    if differences * _smallest_p(images) < SIGNIFICANCE:
        return f"{RESAMPLES:,} permutations are too few for {what}; compare fewer rows"
    return f"{images} images are too few for {what}; compare fewer rows, or on more images"


class _Baseline:
    """A row that others are compared to, one after the other, so that few counts are in memory."""

    def __init__(self, row: Row, per_class: bool, resamples: int) -> None:
        self.split = read_split(row)
        self.images = images = len(self.split.ids)
        if images < 2:
            raise RecipeError(
                f"{row.title}: was scored on {images} image, which says nothing of others; compare "
                "on a split with more"
            )
        draws = bootstrap_weights(images, resamples), swaps(images, resamples)
        self.levels = [_Level(counts, *draws, per_class) for counts in self.split.levels]

    def differences(self, row: Row) -> list[Difference]:
        """Differences of a row, before p-values are corrected, and without verdicts."""
        levels = read_split(row).like(self.split).levels
        pairs = zip(self.levels, levels, strict=True)
        return [one for level, counts in pairs for one in level.differences(counts)]


class _Level:
    """A level of a baseline.

    Args:
        counts: counts of the baseline.
        weights: bootstrap samples.
        swapped: images that are swapped.
        per_class: whether classes are compared, too.
    """

    def __init__(
        self,
        counts: LevelCounts,
        weights: UInt8[np.ndarray, "resamples N"],
        swapped: UInt8[np.ndarray, "resamples N"],
        per_class: bool,
    ) -> None:
        is_in_target = counts.truth[0].any(0)
        self.is_scored = bool((is_in_target & counts.is_foreground).any())
        self.shown = np.flatnonzero(is_in_target if per_class else [])
        self.weights = weights
        overlap = self._overlap(counts)
        self.scored, self.swapping = self._scored(overlap), Swapping(overlap, swapped)

    def differences(self, counts: LevelCounts) -> list[Difference]:
        """Differences between a row and the baseline on this level."""
        if not self.is_scored:
            return []
        overlap = self._overlap(counts)
        images = self.weights.shape[1]
        found = estimate(
            self._scored(overlap), self.scored, self.swapping.differences(overlap), images
        )
        return [
            Difference(
                level=counts.level,
                class_name=name,
                difference=float(found.difference[k]),
                interval=(float(found.low[k]), float(found.high[k])),
                probability_better=float(found.probability_better[k]),
                p=float(found.p[k]),
                detectable=float(found.detectable[k]),
                verdict=None,
            )
            for k, name in enumerate([None, *(counts.classes[one] for one in self.shown)])
        ]

    def _overlap(self, counts: LevelCounts) -> Overlap:
        stacked = np.stack([counts.intersection, counts.union]).astype(np.float64)
        return Overlap(stacked, counts.is_foreground, self.shown)

    def _scored(self, overlap: Overlap) -> Scored:
        return Scored(overlap.scores(overlap.total()), bootstrap(overlap, self.weights))


def _corrected(p: Sequence[float], families: Sequence[str]) -> Float[np.ndarray, " differences"]:
    """p-values corrected over those of the same family."""
    corrected, names = np.array(p, float), np.array(families, object)
    for family in set(families):
        corrected[names == family] = holm(corrected[names == family])
    return corrected


def _with_verdict(difference: Difference, p: float, has_verdict: bool) -> Difference:
    verdict: Verdict | None = None
    if has_verdict:
        low, high = difference.interval
        is_found = p < SIGNIFICANCE and (low > 0 or high < 0)
        sign: Verdict = "better" if difference.difference > 0 else "worse"
        verdict = sign if is_found else "not distinguishable"
    return replace(difference, p=p, verdict=verdict)
