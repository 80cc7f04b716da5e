"""Whether the loss and the gradient of a step are finite, and keeping the weights if they are not.

All of it happens on the training device, so that a step can be captured in a CUDA graph: the host
reads what was found some steps later.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.optim import Optimizer

from hieraseg.errors import DivergedError, RecipeError
from hieraseg.processes import sum_over_ranks


class BadStep(NamedTuple):
    """A step that was not finite.

    Attributes:
        step: step of the run, from 1.
        terms: names of the terms of the loss that were not finite; without any, the gradient was
            not.
    """

    step: int
    terms: list[str]


class BadStepError(DivergedError):
    """A step was not finite.

    Args:
        bad: the step.
    """

    def __init__(self, bad: BadStep) -> None:
        super().__init__(f"training diverged in step {bad.step}: {what_is_wrong(bad)} not finite")
        self.bad = bad


class FiniteSteps:
    """Finds steps that are not finite, and undoes what they change.

    Args:
        model: the model that trains.
        device: the training device.
        stops: whether the weights stay as they are from the first such step on, so that they are
            those that led to it; otherwise each such step is skipped.
        has_scaler: whether gradients may be infinite, since a gradient scaler then skips the step
            by itself. Only the loss counts then.

    Attributes:
        reads_values: whether what depends on a step may be decided by reading values of it: not on
            a device that the host would wait for, nor in a step that is captured.
        steps: number of steps so far, int64.
        first: the first step that was not finite, from 1; 0 for none, int64.
        wrong: whether each term of the loss was not finite in that step.
        has_gradient: whether the gradient of any step of this process was not zero.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, stops: bool = True, has_scaler: bool = False
    ) -> None:
        self.stops, self.has_scaler = stops, has_scaler
        self.reads_values = device.type == "cpu"
        self.steps = torch.zeros((), dtype=torch.int64, device=device)
        self.first = torch.zeros_like(self.steps)
        self.wrong: dict[str, Bool[Tensor, ""]] = {}
        self.has_gradient = torch.zeros((), dtype=torch.bool, device=device)
        saved = model.state_dict(keep_vars=True)
        self._buffers: dict[torch.dtype, list[Tensor]] = {}
        for name, one in model.named_buffers():
            if name in saved:
                self._buffers.setdefault(one.dtype, []).append(one)

    def buffers(self) -> list[Shaped[Tensor, " _"]]:
        """A copy of all buffers, such as statistics of batch normalization: a tensor per dtype."""
        return [torch.cat([one.flatten() for one in group]) for group in self._buffers.values()]

    @torch.no_grad()
    def check(
        self, terms: Mapping[str, Float[Tensor, ""]], norm: Float[Tensor, ""]
    ) -> Bool[Tensor, ""]:
        """Note whether a step is finite. All processes have to call it, and agree.

        Args:
            terms: terms of the loss, of this process.
            norm: norm of the gradient, of all processes.

        Returns:
            Whether the step may change the weights.
        """
        wrong = {name: ~term.isfinite() for name, term in terms.items()}
        bad = self._any(wrong) if self.has_scaler else ~norm.isfinite()
        self.steps += 1
        self.has_gradient.logical_or_(norm != 0)
        is_first = bad & (self.first == 0)
        self.first.copy_(torch.where(is_first, self.steps, self.first))
        for name, value in wrong.items():
            if name not in self.wrong:
                self.wrong[name] = torch.zeros_like(value)
            self.wrong[name].copy_(torch.where(is_first, value, self.wrong[name]))
        return self.first == 0 if self.stops else ~bad

    def restore(self, buffers: Sequence[Shaped[Tensor, " _"]], ok: Bool[Tensor, ""]) -> None:
        """Put the buffers back, unless the step was finite."""
        groups = self._buffers.values()
        for group, now, before in zip(groups, self.buffers(), buffers, strict=True):
            chosen = torch.where(ok, now, before).split([one.numel() for one in group])
            pieces = zip(chosen, group, strict=True)
            torch._foreach_copy_(group, [piece.view_as(one) for piece, one in pieces])

    def report(self, terms: Sequence[str]) -> Int[Tensor, " _"]:
        """What was found so far, on the device, for `read_report`. All processes have to call it.

        Args:
            terms: names of the terms of the loss.
        """
        wrong = sum_over_ranks({name: self.wrong[name].long() for name in terms})
        return torch.stack([self.first, self.has_gradient.long(), *wrong.values()])

    def forget(self) -> None:
        """Forget the first step, so that the next one counts as such."""
        self.first.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        stopped = (self.first > 0) & self.stops  # of no use where training goes on
        return {
            "steps": self.steps,
            "first": self.first,
            "wrong": dict(self.wrong),
            "stopped": stopped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.steps.copy_(state["steps"])
        if not self.stops:  # else a step that was skipped before would stop it
            self.first.copy_(state["first"])
        self.wrong = {name: one.to(self.steps.device) for name, one in state["wrong"].items()}

    def _any(self, flags: Mapping[str, Bool[Tensor, ""]]) -> Bool[Tensor, ""]:
        """Whether any flag of any process is set."""
        number = torch.stack(list(flags.values())).sum()
        return sum_over_ranks({"number": number})["number"] > 0


def read_report(terms: Sequence[str], found: Int[Tensor, " _"]) -> tuple[BadStep | None, bool]:
    """The first step that was not finite, if any; and whether any step had a gradient.

    Args:
        terms: names of the terms of the loss.
        found: what `FiniteSteps.report` returned, on the host.
    """
    first, has_gradient, *wrong = found.tolist()
    names = [name for name, count in zip(terms, wrong, strict=True) if count]
    return BadStep(first, names) if first else None, bool(has_gradient)


def what_is_wrong(bad: BadStep) -> str:
    """What was not finite, as the beginning of a sentence."""
    if not bad.terms:
        return "the gradient is"
    if len(bad.terms) == 1:
        return f"the term {bad.terms[0]} of the loss is"
    return f"the terms {', '.join(bad.terms)} of the loss are"


def with_gradient(loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The loss, whose gradient is NaN if it is not finite itself.

    So the norm of the gradient says all, in all processes, which average their gradients.

    Raises:
        RecipeError: the loss does not depend on the model.
    """
    if not loss.requires_grad:
        raise RecipeError(
            "loss: no weight of the model has an effect on it, so there is nothing to train; let "
            "its terms depend on the logits, without `detach` or `no_grad`"
        )
    one = torch.ones_like(loss)
    return loss * torch.where(loss.detach().isfinite(), one, torch.nan)


def gradient_norm(optimizer: Optimizer) -> Float[Tensor, ""]:
    """Norm of the gradient of all weights."""
    return nn.utils.get_total_norm([cast(Tensor, one.grad) for one in _trained(optimizer)])


@contextmanager
def unless_bad(optimizer: Optimizer, ok: Bool[Tensor, ""], finite: FiniteSteps) -> Iterator[None]:
    """Inside this context, a step of the optimizer leaves the weights as they are unless `ok`.

    That of a fused optimizer then changes nothing. Others take zeros for the gradient, so that
    their averages of it decay.

    Args:
        optimizer: the optimizer.
        ok: whether the step may change the weights.
        finite: how steps are looked at.
    """
    if finite.reads_values and ok:
        yield
        return
    own = cast(Optimizer, getattr(optimizer, "optimizer", optimizer))  # not as fabric wraps it
    is_fused = all(group.get("fused") for group in own.param_groups)
    # In its first step, fused SGD would leave momentum in memory that nothing was written to.
    is_unwritten = not own.state and any(group.get("momentum") for group in own.param_groups)
    if not is_fused or finite.has_scaler or is_unwritten:
        with _putting_back(own, ok):
            yield
        return
    own.found_inf = (~ok).float()  # type: ignore[attr-defined]  # as torch.amp.GradScaler does
    try:
        yield
    finally:
        del own.found_inf  # type: ignore[attr-defined]


@contextmanager
def _putting_back(optimizer: Optimizer, ok: Bool[Tensor, ""]) -> Iterator[None]:
    """Inside this context, a step of any optimizer leaves the weights as they are unless `ok`."""
    weights = _trained(optimizer)
    before = [one.detach().clone() for one in weights]
    for one in weights:
        cast(Tensor, one.grad).masked_fill_(~ok, 0)
    yield
    with torch.no_grad():
        for one, old in zip(weights, before, strict=True):
            one.copy_(torch.where(ok, one, old))


def _trained(optimizer: Optimizer) -> list[Tensor]:
    """The weights that have a gradient."""
    weights = (one for group in optimizer.param_groups for one in group["params"])
    return [one for one in weights if one.grad is not None]
