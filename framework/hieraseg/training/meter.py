"""The progress of training up to a validation: its bar and log lines, its timing, its record."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any, NamedTuple, TypeVar

from jaxtyping import Float, Int
from torch import Tensor

from hieraseg.console import console, log, training_bar, warn
from hieraseg.errors import DivergedError
from hieraseg.metrics import summarize
from hieraseg.metrics.scoring import sum_counts
from hieraseg.training.finite import BadStep, BadStepError, read_report, what_is_wrong
from hieraseg.training.setup import Parts
from hieraseg.training.snapshot import Snapshot
from hieraseg.training.state import State

Item = TypeVar("Item")

_REPORT_EVERY = 10  # steps between reports of the loss
_LOG_EVERY = 60  # seconds between log lines where no progress bar is shown


class _Report(NamedTuple):
    """The loss since the last validation, perhaps on its way from the device.

    Attributes:
        step: number of steps since then.
        run_step: step of the run.
        terms: names of the terms of the loss.
        found: mean of each over the steps so far; what `FiniteSteps.report` gives; and the number
            of steps that were skipped.
    """

    step: int
    run_step: int
    terms: list[str]
    found: Snapshot[tuple[Float[Tensor, " terms"], Int[Tensor, " _"], Int[Tensor, ""]]]


class Meter:
    """Reports the progress of training up to a validation, as a context, and makes its record.

    On CUDA a loss is shown one report late, so that the device, which then has ten steps more to
    compute, never waits for it. All processes do so alike.

    Args:
        parts: the parts of the run.
        state: its state at the beginning.
        last: step of the run that the validation follows.
    """

    def __init__(self, parts: Parts, state: State, last: int) -> None:
        self.parts = parts
        self.state = state
        self.steps = last - state.scored
        # Of epochs the steps in them are counted, of other intervals those of the run.
        is_by_epoch = state.plan.is_by_epoch
        self.offset = 0 if is_by_epoch else state.scored
        self.log_steps = self.steps if is_by_epoch else state.plan.total_steps
        self.bar = training_bar()
        self.task = self.bar.add_task(self._title(state.step + 1), total=self.steps, text="")
        self.lag = 1 if parts.fabric.device.type == "cuda" else 0
        self.reports: deque[_Report] = deque()
        self.waited = 0.0
        self.first = state.totals.steps  # of steps that are resumed in the middle
        self.is_new = state.step == 0
        self.says_skipped = 0.0
        self.started = self.logged = time.monotonic()

    def __enter__(self) -> "Meter":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def timed(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The batches; the time that is spent waiting for them, also for the first, is measured."""
        self.started = time.monotonic()
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
            DivergedError: a step was not finite. It is raised in all processes alike.
        """
        totals = self.state.totals
        is_last = totals.steps == self.steps
        if totals.steps % _REPORT_EVERY and not is_last:
            return
        self._report()
        while len(self.reports) > (0 if is_last else self.lag):
            self._show(self.reports.popleft())

    def _report(self) -> None:
        totals = self.state.totals
        terms, means = totals.terms_mean()
        found = Snapshot((means, self.state.finite.report(terms), totals.skipped))
        self.reports.append(_Report(totals.steps, self.state.step, terms, found))

    def _show(self, report: _Report) -> None:
        """Show a loss, and the speed of the steps that are certainly done."""
        means, finite, skipped = report.found.get()
        self._check(report, *read_report(report.terms, finite), int(skipped))
        self.terms = dict(zip(report.terms, means.tolist(), strict=True))
        self.loss = sum(self.terms.values())
        self.seconds = time.monotonic() - self.started
        images = (report.step - self.first) * self.parts.recipe.training.batch_size
        self.speed = images / self.seconds
        text = f"loss {self.loss:.4f}, {self.speed:.0f} images/s"
        title = self._title(report.run_step)
        self.bar.update(self.task, description=title, completed=report.step, text=text)
        if not console.is_terminal and time.monotonic() - self.logged > _LOG_EVERY:
            self.logged = time.monotonic()
            log(f"{title}, step {report.step + self.offset}/{self.log_steps}: {text}")

    def _check(
        self, report: _Report, bad: BadStep | None, has_gradient: bool, skipped: int
    ) -> None:
        """Say what was wrong with the steps so far.

        Raises:
            BadStepError: a step was not finite.
            DivergedError: more than half of the steps were skipped.
        """
        if not has_gradient and self.is_new:
            warn(
                f"the gradient was zero in all of the first {report.step} steps: the loss ignores "
                "the prediction, or these images have no labels"
            )
        self.is_new = False
        if bad is None:
            return
        if self.state.finite.stops:
            raise BadStepError(bad)
        self.state.finite.forget()
        what = (
            f"step {bad.step} was skipped, since {what_is_wrong(bad)} not finite ({skipped} of "
            f"{report.step} steps since the last validation)"
        )
        if 2 * skipped > report.step:
            raise DivergedError(f"training diverged: {what}; lower optimizer.lr")
        if time.monotonic() > self.says_skipped:
            self.says_skipped = time.monotonic() + _LOG_EVERY
            warn(what)

    def _title(self, step: int) -> str:
        return f"epoch {self.state.plan.epoch(step)}/{self.parts.recipe.training.epochs}"

    def record(self) -> dict[str, Any]:
        """The record of the steps since the last validation, for `metrics.jsonl`, without scores.

        The speed is that of the steps since the run was resumed, None if it was after the last.
        """
        has_steps = self.state.totals.steps > self.first
        if not has_steps:
            self._report()
            self._show(self.reports.popleft())
        # Of a copy, since a captured step adds to the tensors that the totals have now.
        counts = sum_counts(copy(self.state.totals.counts))
        is_clipped = self.parts.recipe.training.clip_norm is not None
        skipped = (
            {} if self.state.finite.stops else {"skipped_steps": int(self.state.totals.skipped)}
        )
        norm = {"gradient_norm": self.state.totals.norm_record()} if is_clipped else {}
        return {
            "epoch": self.state.epoch,
            "step": self.state.step,
            "passes": self.state.step / self.state.plan.steps_per_epoch,
            "loss": self.loss,
            "terms": self.terms,
            **norm,
            **skipped,
            "learning_rate": float(self.state.optimizer.param_groups[-1]["lr"]),
            "images_per_second": self.speed if has_steps else None,
            "waiting_for_data": self.waited / self.seconds if has_steps else None,
            "train": _of_all_images(summarize(counts, self.parts.hierarchy)),
        }


def _of_all_images(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores without those that need the counts of each image, which training sums at once."""
    del scores["images"]
    for level in scores["levels"]:
        del level["miou_per_image"]
    return scores
