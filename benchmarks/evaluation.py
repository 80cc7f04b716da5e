"""Score a split of Pascal-Part: quick against all counts, and in batches against one by one.

`recipes/pascal_part/lite0_cpu.yaml` with random weights, at the resolution of the masks. *plain*:
forward pass, resizing, argmax and a confusion matrix of each image after the other, read back after
each. *quick*: what a run does after each epoch. *all*: what `hieraseg evaluate` counts. *counting*:
the same counts of predictions that are there already, without forward passes.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from common import RECIPE, add_root, lite0_segmenter, options
from rounds import median_seconds
from torch import Tensor

from hieraseg.data.batches.batch import label_tensor
from hieraseg.data.stores.store import Store
from hieraseg.data.stores.targets import TargetStore, open_scored
from hieraseg.data.subset import FirstImages
from hieraseg.inference.bands import predict_images
from hieraseg.metrics import PixelCounts, SplitCounts
from hieraseg.metrics.scoring import score_split
from hieraseg.recipe import load
from hieraseg.settings import Evaluation
from hieraseg_plugins.datasets.pascal_part import PascalPart

KINDS: dict[str, type[PixelCounts] | type[SplitCounts]] = {"quick": PixelCounts, "all": SplitCounts}


class Job:
    """A model with random weights, and the images and masks of a split."""

    def __init__(self, args: argparse.Namespace) -> None:
        settings = Evaluation(batch_size=args.batch_size)
        self.fabric, self.segmenter = lite0_segmenter(args.device, settings, load(RECIPE).input)
        self.hierarchy = self.segmenter.hierarchy
        dataset: Any = FirstImages(PascalPart(self.hierarchy, args.root), args.images)
        opened = open_scored(dataset, "val", self.hierarchy, self.segmenter.seen, settings)
        self.store: Store = opened[0]
        self.targets: TargetStore | None = opened[1]

    def scored(self, kind: type[PixelCounts] | type[SplitCounts]) -> None:
        """What hieraseg does."""
        score_split(self.fabric, self.segmenter, self.targets, self.store, kind)

    @torch.inference_mode()
    def plain(self) -> None:
        """One image after the other."""
        assert self.targets is not None
        device, sizes = self.fabric.device, self.hierarchy.num_classes
        totals = [torch.zeros(classes, classes, dtype=torch.int64) for classes in sizes]
        for row in range(len(self.store)):
            image = torch.from_numpy(self.store.image(row).copy()).permute(2, 0, 1)[None]
            mask = label_tensor(self.targets.mask(row)).to(device)
            logits = self.segmenter.model(image.to(device).float() / 255).logits
            targets = self.hierarchy.encode(mask, check=False)
            for total, level, target in zip(totals, logits, targets, strict=True):
                resized = F.interpolate(level, target.shape, mode="bilinear", align_corners=False)
                total += confusion(target, resized.argmax(1)[0], len(total)).cpu()

    def counter(self, kind: type[PixelCounts] | type[SplitCounts]) -> Callable[[], None]:
        """Counts the predictions of the first image as many times as there are images."""
        assert self.targets is not None
        device, mask = self.fabric.device, self.targets.mask(0)
        size = (mask.shape[0], mask.shape[1])
        stack = torch.from_numpy(self.store.image(0)[None].copy())
        (bands,) = predict_images(self.fabric, self.segmenter, [stack], [size])
        ((_, scores),) = bands
        predicted = self.segmenter.rule(scores)
        targets = self.hierarchy.encode(label_tensor(mask)[None].to(device))
        rows = torch.zeros(1, dtype=torch.int64, device=device)

        def run() -> None:
            counts = kind(self.hierarchy, 1, device)
            for _ in range(len(self.store)):
                counts.add(rows, predicted, targets, scores)
                if isinstance(counts, SplitCounts):
                    counts.boundaries(rows, size).add(predicted, targets)
            counts.arrays()

        return run


def confusion(target: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """The confusion matrix of an image."""
    known = target >= 0
    pairs = target[known] * classes + predicted[known]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def main() -> None:
    parser = options(__doc__, rounds=3)
    add_root(parser)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HIERASEG_CACHE"] = folder
        job = Job(args)
        scored = {name: lambda kind=kind: job.scored(kind) for name, kind in KINDS.items()}
        counting = {f"counting {name}": job.counter(kind) for name, kind in KINDS.items()}
        jobs: dict[str, Callable[[], object]] = {"plain": job.plain, **scored, **counting}
        seconds = median_seconds(jobs, args.rounds, args.cpu)
    images = len(job.store)
    for name, value in seconds.items():
        base = seconds["counting quick" if name.startswith("counting") else "quick"]
        print(f"{name:15} {value:8.2f} s, {images / value:8.1f} images/s {value / base:6.2f}x")


if __name__ == "__main__":
    main()
