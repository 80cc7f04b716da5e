"""The contract of optimizers."""

from io import BytesIO
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from hieraseg.contracts import why_not_capturable
from hieraseg.testing.capturing import (
    CUDA,
    OTHERWISE,
    NotCapturable,
    on_fake_tensors,
    state_of,
)
from hieraseg.testing.component import DEFAULTS, Arguments, CapturableContract

Parts = dict[str, list[nn.Parameter]]
STEPS = 20


class OptimizerContract(CapturableContract):
    """The contract of optimizers (see `contracts.OptimizerFactory`)."""

    def supplied(self) -> dict[str, Any]:
        parts = parameters()
        return {"parameters": parts, "model": Model(parts)}

    def make(self, parts: Parts, arguments: Arguments = DEFAULTS) -> Optimizer:
        """Build the optimizer of some parameters."""
        return cast(Optimizer, self.build(arguments, parameters=parts, model=Model(parts)))

    def assert_capturable(self, arguments: Arguments) -> None:
        with on_fake_tensors(copies=True) as allowed:
            parts = {part: [on_cuda(one) for one in own] for part, own in parameters().items()}
            optimizer = self.make(parts, arguments)
            reason = why_not_capturable(optimizer)
            if reason is not None:
                pytest.skip(f"what it builds says that it cannot: {reason}")
            prepare(optimizer)
            try:
                optimizer.step()
                before = [state_of(one) for one in tree_leaves(optimizer.state_dict())]
                allowed.copies = False
                optimizer.step()
            except NotCapturable as error:
                raise NotCapturable(
                    f"its step cannot be captured, with a learning rate that is a tensor: {error} "
                    "(optimizers of torch need `fused=True`, or `capturable=True`)"
                ) from error
        if [state_of(one) for one in tree_leaves(optimizer.state_dict())] != before:
            raise NotCapturable(
                "its state has a number that changes, a tensor of the CPU or one that is replaced "
                "in each step, which a captured step does not do: keep numbers in tensors of the "
                f"device, and change them in place, {OTHERWISE}"
            )

    def test_has_every_parameter_once(self, arguments: Arguments) -> None:
        """It has all parameters of the backbone and the head, each once."""
        parts = parameters()
        groups = self.make(parts, arguments).param_groups
        held = [id(one) for group in groups for one in group["params"]]
        for part, own in parts.items():
            missing = [one for one in own if id(one) not in held]
            assert not missing, (
                f"{len(missing)} of {len(own)} parameters under {part!r} are missing, and would "
                "not be trained"
            )
        assert len(held) == len(set(held)), "it has a duplicate parameter"
        assert len(held) == sum(map(len, parts.values())), "it has parameters of its own"

    def test_learning_rates_are_non_negative(self, arguments: Arguments) -> None:
        """Learning rates are finite and non-negative, and at least one is positive."""
        rates = [group["lr"] for group in self.make(parameters(), arguments).param_groups]
        assert all(0 <= rate < float("inf") for rate in rates), (
            f"learning rates must be finite and non-negative, got {rates}"
        )
        assert any(rate > 0 for rate in rates), "all learning rates are 0, so nothing is trained"

    def test_minimizes(self, arguments: Arguments) -> None:
        """Its steps change every parameter, and minimize a sum of squares."""
        parts = parameters()
        optimizer = self.make(parts, arguments)
        before = [one.detach().clone() for one in listed(parts)]
        losses = train(optimizer, parts, STEPS)
        for old, new in zip(before, listed(parts), strict=True):
            assert new.isfinite().all(), "a parameter is not finite after some steps"
            assert not torch.equal(old, new), f"a parameter is unchanged after {STEPS} steps"
        assert losses[-1] < losses[0], (
            f"after {STEPS} steps, a sum of squares goes from {losses[0]:.6g} to {losses[-1]:.6g}"
        )

    def test_parts_may_be_empty(self, arguments: Arguments) -> None:
        """It works without parameters of the head, or of the backbone, as when that is frozen."""
        for empty in ("backbone", "head"):
            parts: Parts = {**parameters(), empty: []}
            try:
                losses = train(self.make(parts, arguments), parts, 2)
            except (ValueError, IndexError) as error:
                raise AssertionError(
                    f"it fails without parameters under {empty!r} ({error}): leave out empty groups"
                ) from error
            assert losses[-1] < losses[0], (
                f"without parameters under {empty!r}, steps do not minimize the loss"
            )

    def test_parameters_without_gradient_are_unchanged(self, arguments: Arguments) -> None:
        """A step does not change parameters without a gradient."""
        parts = parameters()
        optimizer = self.make(parts, arguments)
        idle = parts["backbone"][0]
        before = idle.detach().clone()
        optimizer.zero_grad()
        sum_of_squares(parts["head"]).backward()
        optimizer.step()
        assert torch.equal(before, idle), "a step changes a parameter without a gradient"

    def test_resumes_exactly(self, arguments: Arguments) -> None:
        """After its state is saved and loaded, it takes exactly the same steps."""
        parts = parameters()
        optimizer = self.make(parts, arguments)
        train(optimizer, parts, 3)
        saved = reload(optimizer.state_dict())
        other_parts = {
            part: [nn.Parameter(one.detach().clone()) for one in own] for part, own in parts.items()
        }
        other = self.make(other_parts, arguments)
        other.load_state_dict(saved)
        train(optimizer, parts, 3)
        train(other, other_parts, 3)
        assert all(map(torch.equal, listed(parts), listed(other_parts))), (
            "after its state is saved and loaded, it takes other steps: keep everything that a "
            "step depends on in `self.state` and in the groups"
        )


class Model(nn.Module):
    """A model of some parameters, with as many layers of the backbone as it has parameters there.

    Args:
        parts: its parameters.
    """

    backbone_name = "backbone"

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.backbone = Layers(parts["backbone"])
        self.head = nn.ParameterList(parts["head"])


class Layers(nn.ParameterList):
    """A backbone that tells the layers of its parameters (see `contracts.Backbone`)."""

    @property
    def num_layers(self) -> int:
        return len(self)

    def layer_of(self, parameter_name: str) -> int:
        return int(parameter_name)


def parameters() -> Parts:
    """Parameters of several shapes for a backbone and a head, always the same."""
    generator = torch.Generator().manual_seed(0)

    def part(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
        return [nn.Parameter(1 + torch.rand(shape, generator=generator)) for shape in shapes]

    return {"backbone": part((4, 3, 3, 3), (4,), (5, 4)), "head": part((2, 4, 1, 1), (2,))}


def prepare(optimizer: Optimizer) -> None:
    """Set learning rates and options as they are in a captured step."""
    for group in optimizer.param_groups:
        group["lr"] = torch.full((), float(group["lr"]), device=CUDA)
        if "capturable" in group:
            group["capturable"] = True
        # The default of torch's own for tensors with data.
        is_of_torch = type(optimizer).__module__.startswith("torch.")
        if is_of_torch and group.get("foreach", False) is None and not group.get("fused"):
            group["foreach"] = True


def on_cuda(parameter: nn.Parameter) -> nn.Parameter:
    """A parameter without data on CUDA, with a gradient. Inside `on_fake_tensors`."""
    moved = nn.Parameter(torch.empty_like(parameter, device=CUDA))
    moved.grad = torch.empty_like(moved)
    return moved


def listed(parts: Parts) -> list[nn.Parameter]:
    """The parameters of all parts."""
    return [one for own in parts.values() for one in own]


def sum_of_squares(parameters: list[nn.Parameter]) -> Tensor:
    """The loss that `train` minimizes."""
    return torch.stack([one.square().sum() for one in parameters]).sum()


def train(optimizer: Optimizer, parts: Parts, steps: int) -> list[float]:
    """Minimize the sum of squares. Returns the loss before each step and after the last."""
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = sum_of_squares(listed(parts))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [*losses, sum_of_squares(listed(parts)).item()]


def reload(state: dict[str, Any]) -> dict[str, Any]:
    """Save and load a state as a checkpoint does, with `weights_only=True`."""
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded
