"""Counts of simulated splits and runs, whose true difference is known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from hieraseg.statistics.bootstrap import bootstrap
from hieraseg.statistics.estimate import Estimate, Scored, estimate
from hieraseg.statistics.overlap import Overlap
from hieraseg.statistics.permutation import Swapping
from hieraseg.statistics.resampling import bootstrap_weights, swaps


@dataclass(frozen=True)
class Simulation:
    """Two rows on the images of a split; standard deviations are those of the logit of recall.

    Attributes:
        seeds: number of runs of the row and of the baseline.
        images: number of images.
        seed: noise of runs.
        image: noise of images that rows do not share.
        both: noise of each run on each image.
        effect: how much better the row is.
        classes: number of classes.
    """

    seeds: tuple[int, int] = (3, 3)
    images: int = 100
    seed: float = 0.0
    image: float = 0.0
    both: float = 0.0
    effect: float = 0.0
    classes: int = 4

    def draw(self, random: np.random.Generator) -> tuple[Overlap, Overlap]:
        """The row and the baseline, on new images and with new seeds."""
        shape = (self.images, self.classes)
        is_present = random.random(shape) < np.linspace(0.9, 0.3, self.classes)
        truth = np.where(is_present, random.lognormal(6, 1, shape), 0).round()
        difficulty = random.normal(0, 1, (self.images, 1))
        runs = [
            self._row(effect, runs, truth, difficulty, random)
            for effect, runs in zip((self.effect, 0), self.seeds, strict=True)
        ]
        return runs[0], runs[1]

    def _row(
        self,
        effect: float,
        runs: int,
        truth: Float64[np.ndarray, "N C"],
        difficulty: Float64[np.ndarray, "N 1"],
        random: np.random.Generator,
    ) -> Overlap:
        logits = 1 + effect + difficulty + random.normal(0, self.image, truth.shape)
        logits = logits + random.normal(0, self.seed, (runs, 1, 1))
        logits = logits + random.normal(0, self.both, (runs, *truth.shape))
        recall = 1 / (1 + np.exp(-logits))
        intersection = (truth * recall).round()
        missed = (truth - intersection).sum(-1, keepdims=True)
        wrong = missed * random.dirichlet(np.ones(self.classes + 1), missed.shape[:2])[..., 1:]
        union = truth + wrong.round()
        return Overlap(np.stack([intersection, union]), np.ones(self.classes, bool), np.arange(0))

    def estimates(self, number: int, resamples: int, seed: int = 0) -> Iterator[Estimate]:
        """Estimates of so many experiments."""
        random = np.random.default_rng(seed)
        weights, swapped = (draw(self.images, resamples) for draw in (bootstrap_weights, swaps))
        for _ in range(number):
            row, baseline = self.draw(random)
            found = [
                Scored(one.scores(one.total()), bootstrap(one, weights)) for one in (row, baseline)
            ]
            permuted = Swapping(baseline, swapped).differences(row)
            yield estimate(found[0], found[1], permuted, self.images)

    def truth(self, number: int, seed: int = 1) -> float:
        """The mean difference over so many experiments."""
        random = np.random.default_rng(seed)
        drawn = (self.draw(random) for _ in range(number))
        return float(np.mean([_score(row) - _score(baseline) for row, baseline in drawn]))


def _score(overlap: Overlap) -> Float[np.ndarray, ""]:
    return overlap.scores(overlap.total()).mean()
