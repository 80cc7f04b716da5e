"""Running totals of an epoch: counts of the training predictions, and terms of the loss."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg.hierarchy import Hierarchy
from hieraseg.metrics import PixelCounts
from hieraseg.processes import mean_over_ranks


class EpochTotals:
    """Totals since the epoch began, on the device.

    Args:
        hierarchy: the class tree.
        device: device that trains.

    Attributes:
        steps: steps so far.
        terms: sum over steps of each term of the loss.
        counts: pixel counts of all images so far.
    """

    def __init__(self, hierarchy: Hierarchy, device: torch.device) -> None:
        self._hierarchy = hierarchy
        self._device = device
        self.reset()

    def reset(self) -> None:
        """Begin an epoch."""
        self.steps = 0
        self.terms: dict[str, Tensor] = {}
        self.counts = PixelCounts(self._hierarchy, 1, self._device)

    def add(
        self,
        terms: dict[str, Float[Tensor, ""]],
        predicted: Int[Tensor, "B levels H W"],
        targets: Int[Tensor, "B levels H W"],
    ) -> None:
        """Add a step: its loss terms, and the predicted and true class of each pixel and level."""
        self.steps += 1
        for name, value in terms.items():
            self.terms[name] = self.terms.get(name, 0) + value.detach()
        rows = torch.zeros(len(targets), dtype=torch.int64, device=targets.device)
        self.counts.add(rows, predicted, targets)

    def mean_terms(self) -> dict[str, float]:
        """Mean of each term over steps and processes; waits for the device."""
        total = mean_over_ranks(torch.stack(list(self.terms.values())))
        return dict(zip(self.terms, (total / self.steps).tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {"steps": self.steps, "terms": dict(self.terms), "counts": dict(self.counts.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.steps = state["steps"]
        self.terms = {name: value.to(self._device) for name, value in state["terms"].items()}
        for name, value in state["counts"].items():
            self.counts.counts[name].copy_(value)
