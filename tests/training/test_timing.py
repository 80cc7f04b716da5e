"""Which part of a step its time belongs to."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hieraseg.recipe import load
from hieraseg.training import step as step_module
from hieraseg.training import timing
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from hieraseg.training.step import train_step
from hieraseg.training.throughput import ThroughputMeter
from hieraseg.training.timing import PARTS, part_seconds
from tests.support.oracle import write_oracle_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Parts, State]:
    settings = "training: {epochs: 1000, ema: 0.9}"
    recipe = write_oracle_recipe(tmp_path_factory.mktemp("timing"), settings)
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
        (lambda parts, state: state.model, "forward", "forward"),
        (lambda parts, state: parts.loss, "forward", "loss"),
        (lambda parts, state: type(parts.segmenter), "classes", "counts"),
        (lambda parts, state: state.totals, "add", "counts"),
        (lambda parts, state: parts.fabric, "backward", "backward"),
        (lambda parts, state: state.finite, "restore", "backward"),
        (lambda parts, state: state.optimizer, "step", "optimizer"),
        (lambda parts, state: step_module, "unless_bad", "optimizer"),
        (lambda parts, state: state.average, "update", "averaging"),
    ],
)
def test_time_belongs_to_one_part(
    owner: Callable[[Parts, State], Any],
    method: str,
    part: str,
    run: tuple[Parts, State],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert seconds(run, owner, method, monkeypatch) == {name: float(name == part) for name in PARTS}


def seconds(
    run: tuple[Parts, State],
    owner: Callable[[Parts, State], Any],
    method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, float]:
    """Seconds of each part of a step, if each call of this method takes one."""
    parts, state = run
    clock, changed = Clock(), owner(parts, state)
    step = partial(train_step, parts, state)
    meter = ThroughputMeter(parts, step, 1)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    monkeypatch.setattr(changed, method, clock.slow(getattr(changed, method)))
    return part_seconds(parts, state, partial(step, meter.batch), 2)


def test_time_of_parts_that_are_computed_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_oracle_recipe(tmp_path, "training: {epochs: 1000, accumulate: 2}")
    run = set_up(load(recipe, [], []))
    for owner, method, part, times in (
        (lambda parts, state: parts.view, "augment", "augmentation", 1),
        (lambda parts, state: parts.segmenter.model, "forward", "forward", 2),
        (lambda parts, state: parts.fabric, "backward", "backward", 2),
    ):
        with monkeypatch.context() as patch:
            spent = seconds(run, owner, method, patch)
        assert spent == {name: float(times * (name == part)) for name in PARTS}
