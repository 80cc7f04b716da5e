"""Running totals of training: counts of the training predictions, and terms of the loss."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hieraseg.hierarchy import Hierarchy
from hieraseg.metrics import PixelCounts
from hieraseg.processes import (
    gather,
    is_first,
    mean_over_ranks,
    own_or_mean,
    sum_over_ranks,
)


class Totals:
    """Totals since the last validation, on the device.

    Args:
        hierarchy: the class tree.
        device: device that trains.

    Attributes:
        steps: steps so far.
        terms: sum over steps of each term of the loss.
        counts: pixel counts of all images so far.
        skipped: number of steps that were not finite, of which nothing is added, int64.
        norms: sum and maximum of the norms of the gradients, which are alike in all processes; of
            use where they are clipped.
    """

    def __init__(self, hierarchy: Hierarchy, device: torch.device) -> None:
        self._device = device
        self.steps = 0
        self.terms: dict[str, Float[Tensor, ""]] = {}
        self.counts = PixelCounts(hierarchy, 1, device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.norms = torch.zeros(2, device=device)

    def reset(self) -> None:
        """Begin anew. The tensors stay, since a captured step adds to them."""
        self.steps = 0
        tensors = (*self.terms.values(), *self.counts.counts.values(), self.norms, self.skipped)
        for total in tensors:
            total.zero_()

    def add_norm(self, norm: Float[Tensor, ""]) -> None:
        """Add the norm of the gradient of a step; one that is not finite counts as 0."""
        norm = torch.where(norm.isfinite(), norm, 0)
        self.norms.copy_(torch.stack([self.norms[0] + norm, self.norms[1].maximum(norm)]))

    def add(
        self,
        terms: Mapping[str, Float[Tensor, ""]],
        counts: Mapping[str, Tensor],
        ok: Bool[Tensor, ""],
    ) -> None:
        """Add the terms of the loss and the counts of a step, except for the number of steps.

        Args:
            terms: terms of the loss.
            counts: counts of the training predictions.
            ok: whether the step was finite, so that it counts.
        """
        for name, value in terms.items():
            if name not in self.terms:
                self.terms[name] = torch.zeros_like(value)
            self.terms[name] += torch.where(ok, value.detach(), 0)
        for name, count in counts.items():
            self.counts.counts[name] += torch.where(ok, count, 0)
        self.skipped += ~ok

    def terms_mean(self) -> tuple[list[str], Float[Tensor, " terms"]]:
        """Names of the terms, and the mean of each over steps and processes, on the device."""
        total = mean_over_ranks(torch.stack(list(self.terms.values())))
        return list(self.terms), total / (self.steps - self.skipped).clamp(min=1)

    def norm_record(self) -> dict[str, float]:
        """Mean over the steps and maximum of the norm of the gradient, on the host."""
        total, largest = self.norms.tolist()
        return {"mean": total / max(self.steps - int(self.skipped), 1), "max": largest}

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values: the totals of all processes. All of them have to call it."""
        return {
            "steps": self.steps,
            # Of each process, since sums of floats depend on their order.
            "terms": {name: gather(total) for name, total in self.terms.items()},
            "counts": sum_over_ranks(dict(self.counts.counts)),
            "skipped": self.skipped,
            "norms": self.norms,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; the counts all in the first process."""
        self.steps = state["steps"]
        self.terms = {
            name: own_or_mean(totals).to(self._device) for name, totals in state["terms"].items()
        }
        for name, value in state["counts"].items():
            self.counts.counts[name].copy_(value if is_first() else torch.zeros_like(value))
        self.skipped.copy_(state["skipped"])
        self.norms.copy_(state["norms"])
