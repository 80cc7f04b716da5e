"""Which part of a step its time belongs to."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from hieraseg.recipe import load
from hieraseg.training import timing
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from hieraseg.training.step import train_step
from hieraseg.training.throughput import ThroughputMeter
from hieraseg.training.timing import PARTS, part_seconds
from tests.support.oracle import write_oracle_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Parts, State]:
    recipe = write_oracle_recipe(tmp_path_factory.mktemp("timing"), "training: {epochs: 1000}")
    return set_up(load(recipe, [], []))


class Clock:
    """A clock that goes on only while functions are called that take a second."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def slow(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.now += 1
            return function(*args, **kwargs)

        return call


@pytest.mark.parametrize(
    ("owner", "method", "part"),
    [
        (lambda parts, state: parts.view, "augment", "augmentation"),
        (lambda parts, state: parts.segmenter.model, "forward", "forward"),
        (lambda parts, state: parts.loss, "forward", "loss"),
        (lambda parts, state: type(parts.segmenter), "classes", "counts"),
        (lambda parts, state: state.totals, "add", "counts"),
        (lambda parts, state: parts.fabric, "backward", "backward"),
    ],
)
def test_time_belongs_to_one_part(
    owner: Callable[[Parts, State], Any],
    method: str,
    part: str,
    run: tuple[Parts, State],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts, state = run
    clock, changed = Clock(), owner(parts, state)
    step = partial(train_step, parts, state)
    meter = ThroughputMeter(parts, step, 1)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    monkeypatch.setattr(changed, method, clock.slow(getattr(changed, method)))
    spent = part_seconds(parts, state, partial(step, meter.batch), 2)
    assert spent == {name: float(name == part) for name in PARTS}
