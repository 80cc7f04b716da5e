"""Everything that changes while a run trains."""

from typing import Any, Protocol, runtime_checkable

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

    Attributes:
        epoch: current epoch, from 1; 0 before the first.
        step: optimizer steps so far.
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
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.precision = precision
        self.totals = totals
        self.epoch = 0
        self.step = 0
        self.best_epoch = 0
        self.best_score = -1.0

    def update_best(self, score: float) -> bool:
        """Whether the score of this epoch is the best so far, in which case it is kept."""
        improved = score > self.best_score
        if improved:
            self.best_epoch, self.best_score = self.epoch, score
        return improved

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, which `torch.load` reads with `weights_only=True`."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "progress": {name: getattr(self, name) for name in _PROGRESS},
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for name in _PROGRESS:
            setattr(self, name, state["progress"][name])
        torch.set_rng_state(state["random"]["cpu"])
        if torch.cuda.is_available() and state["random"]["cuda"]:
            torch.cuda.set_rng_state_all(state["random"]["cuda"])

    def _parts(self) -> dict[str, Stateful]:
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "precision": self.precision,
            "totals": self.totals,
        }


_PROGRESS = ("epoch", "step", "best_epoch", "best_score")
