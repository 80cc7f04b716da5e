"""What every optimizer has to offer."""

from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hieraseg.testing.component import DEFAULTS, Arguments, ComponentContract

Parts = dict[str, list[nn.Parameter]]
STEPS = 20


class OptimizerContract(ComponentContract):
    """What every optimizer has to offer (see `contracts.OptimizerFactory`)."""

    def make(self, parts: Parts, arguments: Arguments = DEFAULTS) -> Optimizer:
        """The optimizer of some parameters."""
        made = self.build(arguments, parameters=parts)
        assert isinstance(made, Optimizer), (
            f"it gives a {type(made).__name__}: return a torch.optim.Optimizer"
        )
        return made

    def test_every_parameter_is_in_it_once(self, arguments: Arguments) -> None:
        """All parameters of the backbone and the head are in it, each once."""
        parts = parameters()
        groups = self.make(parts, arguments).param_groups
        held = [id(one) for group in groups for one in group["params"]]
        for part, own in parts.items():
            missing = [one for one in own if id(one) not in held]
            assert not missing, (
                f"{len(missing)} of {len(own)} parameters under {part!r} are not in it, and so "
                "never learn"
            )
        assert len(held) == len(set(held)), "a parameter is in it twice"
        assert len(held) == sum(map(len, parts.values())), "it has parameters of its own"

    def test_learning_rates_are_numbers_from_0_up(self, arguments: Arguments) -> None:
        """Every group has a finite learning rate from 0 up, and one of them is above 0."""
        rates = [group["lr"] for group in self.make(parameters(), arguments).param_groups]
        assert all(0 <= rate < float("inf") for rate in rates), f"learning rates are {rates}"
        assert any(rate > 0 for rate in rates), f"learning rates are {rates}: nothing is learnt"

    def test_it_goes_downhill(self, arguments: Arguments) -> None:
        """On a bowl, its steps change every parameter and lower the cost."""
        parts = parameters()
        optimizer = self.make(parts, arguments)
        before = [one.detach().clone() for one in listed(parts)]
        costs = train(optimizer, parts, STEPS)
        for old, new in zip(before, listed(parts), strict=True):
            assert new.isfinite().all(), "a parameter is not finite after some steps"
            assert not torch.equal(old, new), f"{STEPS} steps leave a parameter as it was"
        assert costs[-1] < costs[0], (
            f"the cost goes from {costs[0]:.6g} to {costs[-1]:.6g} in {STEPS} steps down a bowl"
        )

    def test_a_frozen_part_is_left_out(self, arguments: Arguments) -> None:
        """Without parameters of the backbone, as when it is frozen, or of the head, it works."""
        for empty in ("backbone", "head"):
            parts: Parts = {**parameters(), empty: []}
            try:
                costs = train(self.make(parts, arguments), parts, 2)
            except (ValueError, IndexError) as error:
                raise AssertionError(
                    f"without parameters under {empty!r} it fails ({error}): leave out the "
                    "groups that are empty"
                ) from error
            assert costs[-1] < costs[0], f"without parameters under {empty!r} the cost stays"

    def test_parameters_without_a_gradient_stay(self, arguments: Arguments) -> None:
        """A parameter that gets no gradient in a step is left as it is."""
        parts = parameters()
        optimizer = self.make(parts, arguments)
        idle = parts["backbone"][0]
        before = idle.detach().clone()
        optimizer.zero_grad()
        cost(parts["head"]).backward()
        optimizer.step()
        assert torch.equal(before, idle), "a parameter without a gradient is changed"

    def test_a_saved_state_goes_on_as_before(self, arguments: Arguments) -> None:
        """Saved and loaded, its state goes on exactly as if training had not stopped."""
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
            "after its state is saved and loaded it takes other steps: keep all that a step "
            "depends on in `self.state` and in the groups"
        )


def parameters() -> Parts:
    """Parameters of a backbone and a head, of several shapes, the same each time."""
    generator = torch.Generator().manual_seed(0)

    def part(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
        return [nn.Parameter(1 + torch.rand(shape, generator=generator)) for shape in shapes]

    return {"backbone": part((4, 3, 3, 3), (4,), (5, 4)), "head": part((2, 4, 1, 1), (2,))}


def listed(parts: Parts) -> list[nn.Parameter]:
    """The parameters of all parts."""
    return [one for own in parts.values() for one in own]


def cost(parameters: list[nn.Parameter]) -> Tensor:
    """A bowl, lowest where all parameters are 0."""
    return torch.stack([one.square().sum() for one in parameters]).sum()


def train(optimizer: Optimizer, parts: Parts, steps: int) -> list[float]:
    """Go down the bowl; the cost before each step and after the last."""
    costs = []
    for _ in range(steps):
        optimizer.zero_grad()
        total = cost(listed(parts))
        total.backward()
        optimizer.step()
        costs.append(total.item())
    return [*costs, cost(listed(parts)).item()]


def reload(state: dict[str, Any]) -> dict[str, Any]:
    """A state as a checkpoint gives it back: saved, and read without running any code."""
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded
