"""The progress of an epoch: its bar and log lines, its timing, and its record."""

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

from hieraseg.console import console, log, training_bar
from hieraseg.data.batches.batch import Batch
from hieraseg.errors import DivergedError
from hieraseg.metrics import summarize
from hieraseg.metrics.scoring import sum_counts
from hieraseg.training.setup import Parts
from hieraseg.training.state import State

_LOOK_EVERY = 10  # steps between looks at the loss, each of which waits for the device
_LOG_EVERY = 60  # seconds between log lines where no progress bar is shown


class EpochMeter:
    """Reports the progress of an epoch while it is a context, and makes the record of it.

    Args:
        parts: the parts of the run.
        state: its state at the beginning of the epoch.
        steps: number of steps of the epoch.
    """

    def __init__(self, parts: Parts, state: State, steps: int) -> None:
        self.parts = parts
        self.state = state
        self.steps = steps
        self.title = f"epoch {state.epoch}/{parts.recipe.training.epochs}"
        self.bar = training_bar()
        self.task = self.bar.add_task(self.title, total=steps, text="")
        self.waited = 0.0
        self.started = self.logged = time.monotonic()

    def __enter__(self) -> "EpochMeter":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; the time that is spent waiting for them is measured."""
        iterator = iter(batches)
        while True:
            started = time.monotonic()
            batch = next(iterator, None)
            self.waited += time.monotonic() - started
            if batch is None:
                return
            yield batch

    def update(self) -> None:
        """Report after a step.

        Raises:
            DivergedError: the loss is not finite. It is raised in all processes alike.
        """
        step = self.state.totals.steps
        if step % _LOOK_EVERY and step != self.steps:
            return
        self.terms = self.state.totals.mean_terms()
        self.loss = sum(self.terms.values())
        self.seconds = time.monotonic() - self.started
        self.speed = step * self.parts.recipe.training.batch_size / self.seconds
        text = f"loss {self.loss:.4f}, {self.speed:.0f} images/s"
        self.bar.update(self.task, completed=step, text=text)
        if not console.is_terminal and time.monotonic() - self.logged > _LOG_EVERY:
            self.logged = time.monotonic()
            log(f"{self.title}, step {step}/{self.steps}: {text}")
        if not math.isfinite(self.loss):
            raise DivergedError(
                f"training diverged in epoch {self.state.epoch} near step {self.state.step}: the "
                "loss is not finite; lower optimizer.lr, or train in precision 32-true"
            )

    def record(self) -> dict[str, Any]:
        """The record of the finished epoch for `metrics.jsonl`, without validation scores."""
        counts = sum_counts(self.state.totals.counts)
        return {
            "epoch": self.state.epoch,
            "step": self.state.step,
            "loss": self.loss,
            "terms": self.terms,
            "learning_rate": self.state.optimizer.param_groups[-1]["lr"],
            "images_per_second": self.speed,
            "waiting_for_data": self.waited / self.seconds,
            "train": summarize(counts, self.parts.hierarchy),
        }
