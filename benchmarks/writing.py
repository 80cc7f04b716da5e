"""What writing costs an epoch of a run, if training waits for it and if it does not.

A run writes its records, curves, figures and checkpoints (`last` and `best`) after every epoch, in
turns: while the next epoch trains, as a run does, and before it begins. An epoch ends when the next
one is about to be written, so that what is written meanwhile is part of it.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from hieraseg.metrics import Counts
from hieraseg.recipe import load
from hieraseg.train import train_and_score
from hieraseg.training.new_run import new_folder
from hieraseg.training.recorder import Recorder
from hieraseg.training.setup import set_up
from hieraseg.training.state import State
from hieraseg.training.stopping import Stopping

WAYS = ("before training goes on", "while training goes on")
WARM_UP = 2  # epochs


class TimedRecorder(Recorder):
    """A recorder that finishes every other epoch before training goes on, and notes the time.

    Attributes:
        writing: seconds of each epoch that training waited for the recorder, by way of writing.
        epochs: seconds of each epoch, with its validation, by way of writing.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.writing: dict[str, list[float]] = defaultdict(list)
        self.epochs: dict[str, list[float]] = defaultdict(list)
        self.way, self.began = "", 0.0

    def save_validation(
        self, state: State, record: dict[str, Any], improved: bool, counts: Counts | None = None
    ) -> None:
        self._background.wait()  # what is left of the epoch before is a part of it
        started = time.perf_counter()
        if state.epoch > WARM_UP + 1:
            self.epochs[self.way].append(started - self.began)
        self.way, self.began = WAYS[state.epoch % 2], started
        super().save_validation(state, record, improved=True, counts=counts)
        if self.way == WAYS[0]:
            self._background.wait()
        if state.epoch > WARM_UP:
            self.writing[self.way].append(time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="quickstart")
    parser.add_argument("--rounds", type=int, default=5, help="epochs per way of writing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=600, help="training images")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    epochs = 2 * args.rounds + WARM_UP + 1
    overrides = {
        "training.epochs": str(epochs),
        "training.device": "cpu",
        "data.train_images": str(args.images),
        "backbone.weights": "null",
    }
    with tempfile.TemporaryDirectory() as folder:
        parts, state = set_up(load(args.recipe, list(overrides.items())))
        recorder = TimedRecorder(parts, new_folder(parts, Path(folder), "run"), state)
        with Stopping() as stopping, recorder:
            train_and_score(parts, state, recorder, stopping)
    for way in WAYS:
        writing, epoch = (
            statistics.median(one[way]) for one in (recorder.writing, recorder.epochs)
        )
        share = 100 * writing / epoch
        print(f"written {way:24} {writing:6.3f} s of {epoch:6.2f} s per epoch, {share:4.1f} %")


if __name__ == "__main__":
    main()
