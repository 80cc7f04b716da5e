"""Batches of full-size images from decoded stores and from files, and the losses of both.

Both ways read the same images with the same number of threads. Each round reads other steps of an
epoch, so that nothing is read twice in a row.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from common import add_root, options
from rounds import median_seconds
from torch import Tensor

from hieraseg import Draws
from hieraseg.cli import main as hieraseg
from hieraseg.data.batches.cropping import num_levels
from hieraseg.data.batches.views import Step, open_view
from hieraseg.data.sampling import generator, training_order
from hieraseg.data.stores.store import Store, open_store
from hieraseg.data.subset import FirstImages
from hieraseg.settings import Augmentation, Input
from hieraseg_plugins.datasets.pascal_part import PascalPart
from hieraseg_plugins.hierarchies.pascal_part import pascal_part

SOURCES: tuple[Literal["decoded", "files"], ...] = ("decoded", "files")
FILL = (0.485, 0.456, 0.406)
TIMES = ("images_per_second", "waiting_for_data")


def batches(store: Store, settings: Input, batch_size: int, steps: int) -> Callable[[], None]:
    """A job that reads the batches of some steps, each time those of the next epoch."""
    hierarchy, device = pascal_part(), torch.device("cpu")
    view = open_view(store, settings, Augmentation(), (), hierarchy, device, FILL)
    epochs = iter(range(1_000_000))

    def run() -> None:
        epoch = next(epochs)
        order = training_order(len(store), batch_size, 0, epoch)[:steps]
        for _ in view.load([draw(rows, epoch, step) for step, rows in enumerate(order, 1)]):
            pass

    return run


def draw(rows: Tensor, epoch: int, step: int) -> Step:
    """The images of a step with their random numbers."""
    return Step(rows, Draws(generator(0, epoch, step), len(rows)))


def compare_speed(args: argparse.Namespace, settings: dict[str, Input]) -> None:
    """Print images per second of both ways, and how long it takes to open them."""
    dataset: Any = FirstImages(PascalPart(pascal_part(), args.root), args.images)
    for name, one in settings.items():
        jobs = {}
        for source in SOURCES:
            own = Input(one.size, one.resize, source)
            opening = []
            for _ in range(2):
                started = time.perf_counter()
                store = open_store(
                    dataset, "train", pascal_part(), own, "", num_levels(own, Augmentation())
                )
                opening.append(time.perf_counter() - started)
            print(
                f"{name:12} {source:8} opened in {opening[0]:6.1f} s, again in {opening[1]:.2f} s"
            )
            jobs[source] = batches(store, own, args.batch_size, args.steps)
        seconds = median_seconds(jobs, args.rounds, args.cpu)
        for source, value in seconds.items():
            speed = args.steps * args.batch_size / value
            ratio = value / seconds["decoded"]
            print(f"{name:12} {source:8} {speed:6.0f} images/s, {ratio:5.2f} times the time")


def compare_losses(args: argparse.Namespace, folder: Path) -> None:
    """Train with both ways. Exits with an error if their records differ."""
    root = folder / "data"
    root.mkdir()
    for name in ("JPEGImages", "gt_masks", "classes.txt", "val_id.txt"):
        (root / name).symlink_to(args.root.resolve() / name)
    ids = (args.root / "train_id.txt").read_text().split()[:40]
    (root / "train_id.txt").write_text("\n".join(ids))
    records = {}
    for source in SOURCES:
        out = folder / source
        arguments = {
            "data.root": str(root),
            "data.train_images": "32",
            "input.store": source,
            "input.size": "[128, 128]",
            "backbone.weights": "null",
            "training.device": "cpu",
            "training.epochs": "2",
            "training.batch_size": "8",
            "logging.images": "0",
            "trackers": "[]",
        }
        words = [word for key, value in arguments.items() for word in (f"--{key}", value)]
        if hieraseg(["run", "pascal_part/lite0_cpu", "--out", str(out), *words]):
            raise SystemExit("the run failed")
        (metrics,) = out.glob("*/*/metrics.jsonl")
        records[source] = [
            {key: value for key, value in json.loads(line).items() if key not in TIMES}
            for line in metrics.read_text().splitlines()
        ]
    if records["decoded"] != records["files"]:
        raise SystemExit("the losses or scores differ")
    print("losses of", [record["loss"] for record in records["files"]], "and all scores are equal")


def main() -> None:
    parser = options(__doc__, rounds=7)
    add_root(parser)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4, help="batches per round")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = {
        "none": Input(size=(320, 320), resize="none"),
        "shorter 512": Input(size=(512, 512), resize="shorter"),
        "stretch 224": Input(size=(224, 224)),
    }
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HIERASEG_CACHE"] = str(Path(folder) / "cache")
        compare_speed(args, settings)
        compare_losses(args, Path(folder))


if __name__ == "__main__":
    main()
