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

from hieraseg.training.totals import EpochTotals


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
        totals: counts and loss terms of the current epoch.
        total_steps: optimizer steps of the whole run.

    Attributes:
        epoch: current epoch, from 1; 0 before the first.
        step: optimizer steps so far.
        scored: last epoch whose scores are recorded; less than `epoch` in the middle of one.
        best_epoch: epoch with the best score so far; 0 before the first.
        best_score: its mIoU on the validation split, of the level that decides (see `checks`).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler,
        precision: Any,
        totals: EpochTotals,
        total_steps: int,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.precision = precision
        self.totals = totals
        self.total_steps = total_steps
        self.epoch = 0
        self.step = 0
        self.scored = 0
        self.best_epoch = 0
        self.best_score = -1.0
        self._seconds = 0.0  # of earlier processes
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Duration of the run, without the time in which it was stopped."""
        return self._seconds + time.monotonic() - self._started

    @property
    def is_complete(self) -> bool:
        """Whether all steps are taken, and all epochs scored."""
        return self.step >= self.total_steps and self.scored == self.epoch

    def begin_epoch(self) -> None:
        """Begin an epoch, unless one has begun that is not complete."""
        if self.scored == self.epoch:
            self.epoch += 1
            self.totals.reset()

    def end_epoch(self, score: float) -> bool:
        """Complete the epoch. Returns whether its score is the best so far."""
        self.scored = self.epoch
        improved = score > self.best_score
        if improved:
            self.best_epoch, self.best_score = self.epoch, score
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
            "random": _random_states(),
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
        _restore_random(state["random"])

    def _skip(self, steps: int) -> None:
        """Let the schedule take some steps without the optimizer."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of this order
            for _ in range(steps):
                self.schedule.step()

    def _parts(self) -> dict[str, Stateful]:
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "precision": self.precision,
            "totals": self.totals,
        }


_PROGRESS = ("epoch", "step", "scored", "best_epoch", "best_score")


def _random_states() -> dict[str, Any]:
    """States of all generators that a model or a component may draw from."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.array(keys)), *rest),
    }


def _restore_random(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy(), *rest))
