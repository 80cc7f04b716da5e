"""The progress of training: what is shown when, and what is not waited for."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from hieraseg import Hierarchy
from hieraseg.errors import DivergedError
from hieraseg.metrics import PixelCounts
from hieraseg.training.finite import BadStepError, FiniteSteps
from hieraseg.training.intervals import Plan
from hieraseg.training.meter import Meter
from hieraseg.training.setup import Parts
from hieraseg.training.state import State

STEPS = 25


class Totals:
    """Loss terms of which the k-th step has the value k; their mean is that of the steps."""

    def __init__(self, device: str) -> None:
        self.steps = 0
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.one = torch.ones(1, device=device)

    def terms_mean(self) -> tuple[list[str], Tensor]:
        values = [float(step) for step in range(1, self.steps + 1)]
        return ["ce"], self.one * (sum(values) / self.steps)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that a test sets."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    return clock


def meter(device: str, totals: str = "cpu", steps_per_epoch: int = STEPS) -> Meter:
    """The meter after the first validation on a device, with totals there or elsewhere."""
    recipe = SimpleNamespace(training=SimpleNamespace(epochs=3, batch_size=8, clip_norm=None))
    fabric = SimpleNamespace(device=torch.device(device))
    parts = Mock(spec=Parts, recipe=recipe, fabric=fabric)
    plan = Plan(3 * STEPS, steps_per_epoch, validate_every=STEPS)
    state = Mock(spec=State, epoch=2, step=STEPS, scored=STEPS, plan=plan, totals=Totals(totals))
    state.finite = FiniteSteps(nn.Linear(1, 1), torch.device(totals))
    state.finite.steps += STEPS
    return Meter(parts, state, 2 * STEPS)


def take_steps(meter: Meter, clock: SimpleNamespace, number: int, bad: int = 0) -> None:
    """Steps of half a second, of which one is not finite."""
    totals: Any = meter.state.totals
    for _ in range(number):
        clock.now += 0.5
        meter.state.step += 1
        totals.steps += 1
        loss = totals.one[0] * (math.nan if totals.steps == bad else 1)
        totals.skipped += ~meter.state.finite.check({"ce": loss}, loss)
        meter.update()


def test_on_a_cpu_a_loss_is_shown_at_once(clock: SimpleNamespace) -> None:
    one = meter("cpu")
    take_steps(one, clock, 10)
    assert one.loss == 5.5
    assert one.speed == 8 * 10 / 5
    take_steps(one, clock, 14)
    assert one.loss == 10.5
    take_steps(one, clock, 1)
    assert (one.loss, one.terms) == (13.0, {"ce": 13.0})
    assert one.speed == 16


def test_on_cuda_a_loss_is_shown_ten_steps_later(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of its own step, and only the last one is waited for."""
    waits = list[int]()
    one = meter("cuda")

    class Slow:
        """A snapshot that notes at which step it is waited for."""

        def __init__(self, values: tuple[Tensor, ...]) -> None:
            self.values = [value.clone() for value in values]

        def get(self) -> list[Tensor]:
            waits.append(one.state.totals.steps)
            return self.values

    monkeypatch.setattr("hieraseg.training.meter.Snapshot", Slow)
    take_steps(one, clock, 19)
    assert not waits
    take_steps(one, clock, 1)
    assert waits == [20]
    assert one.loss == 5.5
    assert one.speed == 8 * 10 / 10, "of the steps that are done for sure"
    take_steps(one, clock, 5)
    assert waits == [20, 25, 25]
    assert one.loss == 13.0
    assert one.speed == 16


@pytest.mark.parametrize(
    ("steps_per_epoch", "expected"),
    [(STEPS, "epoch 2/3, step 20/25"), (60, "epoch 1/3, step 45/75")],
)
def test_a_log_line_counts_the_steps_of_an_epoch_or_of_the_run(
    clock: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    steps_per_epoch: int,
    expected: str,
) -> None:
    """Those of the run where validation does not follow each epoch."""
    one = meter("cpu", steps_per_epoch=steps_per_epoch)
    take_steps(one, clock, 10)
    assert not capsys.readouterr().err
    clock.now += 60
    take_steps(one, clock, 10)
    assert capsys.readouterr().err == f"{expected}: loss 10.5000, 2 images/s\n"


@pytest.mark.parametrize(("device", "raised_at"), [("cpu", 10), ("cuda", 20)])
def test_a_loss_that_diverges_names_its_step(
    clock: SimpleNamespace, device: str, raised_at: int
) -> None:
    one = meter(device)
    take_steps(one, clock, raised_at - 1, bad=7)
    with pytest.raises(BadStepError, match=r"step 32: the term ce of the loss is not finite"):
        take_steps(one, clock, 1)


def test_a_loss_that_diverges_in_the_last_steps(clock: SimpleNamespace) -> None:
    one = meter("cuda")
    take_steps(one, clock, STEPS - 1, bad=24)
    with pytest.raises(BadStepError, match=r"step 49: the term ce of the loss is not finite"):
        take_steps(one, clock, 1)


def test_steps_that_are_skipped_are_said_once_a_minute(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    one = meter("cpu")
    one.state.finite.stops = False
    take_steps(one, clock, 10, bad=7)
    assert "warning: step 32 was skipped, since the term ce of the loss is not finite (1 of 10" in (
        capsys.readouterr().err
    )
    take_steps(one, clock, 10, bad=11)
    assert not capsys.readouterr().err, "five seconds later"
    clock.now += 60
    take_steps(one, clock, 5, bad=22)
    assert "warning: step 47 was skipped, " in capsys.readouterr().err


def test_training_ends_if_most_steps_are_skipped(clock: SimpleNamespace) -> None:
    one = meter("cpu")
    one.state.finite.stops = False
    for step in range(4, 10):
        take_steps(one, clock, step - one.state.totals.steps, bad=step)
    with pytest.raises(DivergedError, match=r"step 29 was skipped, .* \(6 of 10 steps since the"):
        take_steps(one, clock, 1)


def test_the_clock_starts_with_the_wait_for_the_first_batch(clock: SimpleNamespace) -> None:
    """What was before is no part of the speed, and no wait is longer than the epoch."""
    one = meter("cpu")
    clock.now += 50

    def batches() -> Iterator[int]:
        for number in range(STEPS):
            clock.now += 2 if number == 0 else 0.1
            yield number

    with one:
        for _ in one.timed(batches()):
            take_steps(one, clock, 1)
    assert one.seconds == pytest.approx(2 + 24 * 0.1 + 25 * 0.5)
    assert one.speed == pytest.approx(8 * 25 / one.seconds)
    assert one.waited == pytest.approx(2 + 24 * 0.1)


def test_the_record_of_several_processes_leaves_the_totals_as_they_are(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A captured step adds to these tensors, in whichever epoch."""
    monkeypatch.setattr(
        "hieraseg.metrics.scoring.sum_over_ranks",
        lambda counts: {key: value * 2 for key, value in counts.items()},
    )
    hierarchy = Hierarchy.from_tree({"a": ["b", "c"], "d": None})
    one = meter("cpu")
    one.parts.hierarchy = hierarchy  # type: ignore[misc]
    one.state.optimizer = Mock(param_groups=[{"lr": torch.tensor(0.5)}])
    totals = one.state.totals.counts = PixelCounts(hierarchy, 1, torch.device("cpu"))
    classes = hierarchy.encode(torch.tensor([[[0, 1], [2, 2]]]))
    totals.add(torch.tensor([0]), classes, classes)
    before = dict(totals.counts)
    take_steps(one, clock, STEPS)
    record = one.record()
    assert (record["step"], record["passes"], record["learning_rate"]) == (2 * STEPS, 2.0, 0.5)
    assert record["train"]["levels"][0]["miou"] == 1
    assert "images" not in record["train"], "of each image there are no counts"
    assert "miou_per_image" not in record["train"]["levels"][0]
    assert all(totals.counts[key] is before[key] for key in before)
    assert totals.counts["pixels"].tolist() == [4]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_is_not_waited_for(clock: SimpleNamespace) -> None:
    one = meter("cuda", totals="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        take_steps(one, clock, STEPS)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert one.loss == 13.0
