"""Everything that changes while a run trains."""

import random
import time
import warnings
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hieraseg.processes import gather_objects, own_or_first
from hieraseg.training.averaging import WeightAverage
from hieraseg.training.finite import FiniteSteps
from hieraseg.training.intervals import Plan
from hieraseg.training.totals import Totals


@runtime_checkable
class Stateful(Protocol):
    """An object whose state can be saved and restored."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class State:
    """The state of a run. All else that trains stays the same from the first step to the last.

    Args:
        model: model with the weights.
        optimizer: optimizer of its parameters.
        schedule: learning rate schedule.
        precision: fabric's precision plugin, which has the gradient scaler of `16-mixed`.
        totals: counts and loss terms since the last validation.
        plan: when it is validated, and when it ends.
        finite: which steps were finite.
        average: moving average of the weights; None without `training.ema`.

    Attributes:
        step: optimizer steps so far.
        scored: step of the last validation; less than `step` between two of them.
        validations: number of validations so far.
        best_step: step of the validation with the best score so far; 0 before the first.
        best_score: that score, of which higher ones are better (see `monitor`); None if it is
            undefined.
        since_best: number of validations since then.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler,
        precision: Any,
        totals: Totals,
        plan: Plan,
        finite: FiniteSteps,
        average: WeightAverage | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.precision = precision
        self.totals = totals
        self.plan = plan
        self.finite = finite
        self.average = average
        self.step = 0
        self.scored = 0
        self.validations = 0
        self.best_step = 0
        self.best_score: float | None = None
        self.since_best = 0
        self._seconds = 0.0  # of earlier processes
        self._started = time.monotonic()

    @property
    def scored_model(self) -> nn.Module:
        """The model whose weights are scored and saved: the average, if there is one."""
        return self.model if self.average is None else self.average.model

    @property
    def seconds(self) -> float:
        """Duration of the run, without the time in which it was stopped."""
        return self._seconds + time.monotonic() - self._started

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.plan.total_steps

    @property
    def epoch(self) -> int:
        """Epoch of the last step, from 1; 0 before the first step."""
        return self.plan.epoch(self.step)

    @property
    def stops_early(self) -> bool:
        """Whether the score has not improved for as many validations as the plan has patience."""
        patience = self.plan.patience
        return patience is not None and self.since_best >= patience and self.step < self.total_steps

    @property
    def is_complete(self) -> bool:
        """Whether the last step of the run is taken, and scored."""
        return self.scored == self.step and (self.step >= self.total_steps or self.stops_early)

    def begin_interval(self) -> int:
        """Begin the steps up to the next validation, or go on with them. Returns the last one."""
        if self.scored == self.step:
            self.totals.reset()
        return self.plan.next_validation(self.scored)

    def end_interval(self, score: float | None) -> bool:
        """Note the score of a validation.

        Args:
            score: higher is better; None if it is undefined. As long as none was defined, the last
                validation is the best one.

        Returns:
            Whether it is the best so far.
        """
        self.scored = self.step
        self.validations += 1
        best = self.best_score
        improved = best is None or (score is not None and score > best)
        if improved:
            self.best_step, self.best_score, self.since_best = self.step, score, 0
        else:
            self.since_best += 1
        return improved

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, which `torch.load` reads with `weights_only=True`.

        All processes have to call it.
        """
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "progress": {name: getattr(self, name) for name in _PROGRESS},
            "total_steps": self.total_steps,
            "seconds": self.seconds,
            "random": gather_objects(_random_states()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        If the run has another number of steps now, its schedule is where one of this length is
        after as many steps.
        """
        has_same_length = state["total_steps"] == self.total_steps
        if not has_same_length:
            self._skip(state["progress"]["step"])
        rates = self.schedule.get_last_lr()
        for name, part in self._parts().items():
            if name != "schedule" or has_same_length:
                part.load_state_dict(state[name])
        if not has_same_length:
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
        for name in _PROGRESS:
            setattr(self, name, state["progress"][name])
        self._seconds, self._started = state["seconds"], time.monotonic()
        _restore_random(own_or_first(state["random"]))

    def _skip(self, steps: int) -> None:
        """Let the schedule take some steps without the optimizer."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of this order
            for _ in range(steps):
                self.schedule.step()

    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {
            "model": self.scored_model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "precision": self.precision,
            "totals": self.totals,
            "finite": self.finite,
        }
        return parts if self.average is None else {**parts, "trained_model": self.model}


_PROGRESS = ("step", "scored", "validations", "best_step", "best_score", "since_best")


def _random_states() -> dict[str, Any]:
    """States of all generators that a model or a component may draw from."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        # Tensors of uint32 cannot be pickled, and so not be sent to other processes.
        "numpy": (kind, torch.from_numpy(np.array(keys, np.int64)), *rest),
    }


def _restore_random(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
