"""Ten thousand bootstrap samples and permutations of rows, compared with a loop over them.

The counts are random: rows of some seeds on the images and classes of a split, of which most
classes are in few images. *Loop*: for each sample, sum the counts of its images, then compute the
scores, run by run; it is timed on a part of the samples. *Blocks*: what `hieraseg compare` does.
Then the time of all rows with a baseline, and the memory that they add, without reading. The script
exits with an error unless both ways give the same scores.
"""

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
from common import options
from rounds import median_seconds

from hieraseg.statistics.bootstrap import bootstrap
from hieraseg.statistics.estimate import Scored, estimate
from hieraseg.statistics.overlap import Overlap
from hieraseg.statistics.permutation import Swapping
from hieraseg.statistics.resampling import bootstrap_weights, swaps

RESAMPLES, PART = 10_000, 100


def random_row(args: argparse.Namespace, number: int) -> Overlap:
    """Counts of a row whose targets are those of all other rows."""
    shape = (args.images, args.classes)
    targets = np.random.default_rng(0)
    truth = targets.integers(1, 20_000, shape) * (targets.random(shape) < 0.1)
    random = np.random.default_rng([1, number])
    recall = np.clip(random.normal(0.6, 0.2, (args.seeds, *shape)), 0, 1)
    intersection = (truth * recall).astype(np.int64)
    wrong = random.integers(0, 500, recall.shape) * (random.random(recall.shape) < 0.1)
    counts = np.stack([intersection, truth + wrong]).astype(np.float64)
    return Overlap(counts, np.arange(args.classes) > 0, np.arange(0))


def loop(overlap: Overlap, weights: np.ndarray) -> np.ndarray:
    """Scores of samples, one after the other."""
    scores = np.empty((overlap.counts.shape[1], len(weights)))
    for sample, times in enumerate(weights):
        images = np.repeat(np.arange(len(times)), times)
        for run, (intersection, union) in enumerate(overlap.counts.swapaxes(0, 1)):
            sums = intersection[images].sum(0), union[images].sum(0)
            with np.errstate(invalid="ignore"):
                iou = sums[0] / sums[1]
            scores[run, sample] = np.nanmean(iou[overlap.is_foreground])
    return scores


def compare_ways(args: argparse.Namespace) -> None:
    """Print the time of a sample in a loop and in blocks."""
    row, weights = random_row(args, 0), bootstrap_weights(args.images, RESAMPLES)
    if not np.allclose(loop(row, weights[:PART]), bootstrap(row, weights[:PART])[..., 0]):
        raise SystemExit("the scores differ")
    jobs: dict[str, Callable[[], object]] = {
        "loop": lambda: loop(row, weights[:PART]),
        "blocks": lambda: bootstrap(row, weights),
    }
    seconds = median_seconds(jobs, args.rounds, args.cpu)
    loop_seconds = seconds["loop"] * RESAMPLES / PART
    print(f"a row in a loop {loop_seconds:.1f} s, in blocks {seconds['blocks']:.2f} s", end="")
    print(f", {loop_seconds / seconds['blocks']:.0f} times as fast")


def compare_rows(args: argparse.Namespace) -> None:
    """Print the time of all rows, and the peak memory of the process."""
    clock = time.process_time if args.cpu else time.perf_counter
    seconds, before = 0.0, peak_memory()
    for number in range(args.rows):
        overlap = random_row(args, number)
        started = clock()
        if number == 0:
            weights = bootstrap_weights(args.images, RESAMPLES)
            swapping = Swapping(overlap, swaps(args.images, RESAMPLES))
        scored = Scored(overlap.scores(overlap.total()), bootstrap(overlap, weights))
        if number == 0:
            baseline = scored
        else:
            estimate(scored, baseline, swapping.differences(overlap), args.images)
        seconds += clock() - started
    print(f"{args.rows} rows: {seconds:.1f} s, {peak_memory() - before:.0f} MiB at the peak")


def peak_memory() -> float:
    """Largest memory that the process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--rows", type=int, default=10, help="with the baseline")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=707)
    parser.add_argument("--classes", type=int, default=171)
    args = parser.parse_args()
    compare_rows(args)
    compare_ways(args)


if __name__ == "__main__":
    main()
