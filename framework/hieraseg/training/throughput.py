"""Images per second of the data, of the training step, and of both together."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import NamedTuple

from hieraseg.data.batches.batch import AnyBatch, Step
from hieraseg.data.batches.device import on_device
from hieraseg.data.sampling import generator, training_order
from hieraseg.draws import Draws
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
        step: takes a training step on a batch on the device.
        steps: number of steps of each measurement.
    """

    def __init__(self, parts: Parts, step: Callable[[AnyBatch], object], steps: int) -> None:
        self.parts, self.step, self.steps = parts, step, steps
        self.device = parts.fabric.device
        self._order = endless_steps(parts)
        self.batch = next(self._batches(1))
        self.batch_size = len(self.batch.seeds)

    def round(self) -> Throughput:
        """One measurement of each, one after the other."""
        batches = max(self.steps, _READ)
        return Throughput(
            data=self._rate(self._read, batches),
            step=self._rate(self._train_on_one, self.steps),
            both=self._rate(self._train, self.steps),
        )

    def _rate(self, work: Callable[[int], None], batches: int) -> float:
        return batches * self.batch_size / seconds(lambda: work(batches), self.device)

    def _read(self, batches: int) -> None:
        for _ in self._batches(batches):
            pass

    def _train_on_one(self, batches: int) -> None:
        for _ in range(batches):
            self.step(self.batch)

    def _train(self, batches: int) -> None:
        for batch in self._batches(batches):
            self.step(batch)

    def _batches(self, number: int) -> Iterator[AnyBatch]:
        """Batches on the device."""
        return on_device(self.parts.view.load(list(islice(self._order, number))), self.device)


def median(rounds: Sequence[Throughput]) -> Throughput:
    """The median of each rate."""
    return Throughput(*map(statistics.median, zip(*rounds, strict=True)))


def endless_steps(parts: Parts) -> Iterator[Step]:
    """The steps of one epoch after another."""
    settings, store = parts.recipe.training, parts.stores["train"]
    for epoch in count(1):
        order = training_order(len(store), settings.batch_size, settings.seed, epoch, store.members)
        for number, rows in enumerate(order, 1):
            yield Step(rows, Draws(generator(settings.seed, epoch, number), len(rows)))
