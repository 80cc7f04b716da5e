"""Images per second of the data, of the training step, and of both together."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import NamedTuple

from hieraseg.data.batches.batch import AnyBatch
from hieraseg.data.batches.device import on_device
from hieraseg.training.order import run_steps
from hieraseg.training.setup import Parts
from hieraseg.training.timing import seconds

_READ = 50  # batches that are read at least, since that is fast


class Throughput(NamedTuple):
    """Images per second.

    Attributes:
        data: of reading images and copying them to the device, without a model.
        step: of training on the same batch again and again.
        both: of training.
    """

    data: float
    step: float
    both: float

    @property
    def waiting(self) -> float:
        """Share of the training time that is lost to the data: the steps alone do not take it."""
        return max(0.0, 1 - self.both / self.step)


class ThroughputMeter:
    """Measures the throughput of a run.

    Args:
        parts: the parts of the run.
        take_step: takes a training step on a batch on the device.
        steps: number of steps of each measurement.

    Attributes:
        batch: a batch on the device, which all steps of `step` take.
        batch_size: number of its images.
    """

    def __init__(self, parts: Parts, take_step: Callable[[AnyBatch], object], steps: int) -> None:
        self.parts, self.take_step, self.steps = parts, take_step, steps
        self.device = parts.fabric.device
        self._order = run_steps(parts, count(1))
        self.batch = next(self._batches(1))
        self.batch_size = len(self.batch.seeds)

    def round(self) -> Throughput:
        """One measurement of each rate."""
        return Throughput(self.data(), self.step(), self.both())

    def data(self) -> float:
        """See `Throughput`."""
        number = max(self.steps, _READ)

        def read() -> None:
            for _ in self._batches(number):
                pass

        return self._rate(number, read)

    def step(self) -> float:
        """See `Throughput`."""

        def train() -> None:
            for _ in range(self.steps):
                self.take_step(self.batch)

        return self._rate(self.steps, train)

    def both(self) -> float:
        """See `Throughput`."""

        def train() -> None:
            for batch in self._batches(self.steps):
                self.take_step(batch)

        return self._rate(self.steps, train)

    def _rate(self, number: int, work: Callable[[], None]) -> float:
        return number * self.batch_size / seconds(work, self.device)

    def _batches(self, number: int) -> Iterator[AnyBatch]:
        """Batches on the device."""
        return on_device(self.parts.view.load(list(islice(self._order, number))), self.device)


def median(rounds: Sequence[Throughput]) -> Throughput:
    """The median of each rate."""
    return Throughput(*map(statistics.median, zip(*rounds, strict=True)))
