"""Optimizers of timm by name."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from timm.optim import list_optimizers
from torch import Tensor, nn

from hieraseg import registry
from hieraseg.contracts import why_not_capturable
from hieraseg.recipe import load
from hieraseg.testing import OptimizerContract
from hieraseg.testing.optimizers import listed, parameters
from hieraseg.training.capturing import optimizer_problems
from hieraseg.training.graph import keeps_state_on_host

factory = registry.optimizers.get("timm")


def offered() -> list[str]:
    others = ("bnb", "fused", "adahessian", "kron")
    return [name for name in map(str, list_optimizers()) if not name.startswith(others)]


def test_the_first_step_of_lion_by_hand() -> None:
    """Decay by 0.1 * 0.5, and a step of 0.1 against the sign of the gradient."""
    body, head = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = factory(
        {"backbone": [body], "head": [head]},
        optimizer="lion",
        lr=0.1,
        weight_decay=0.5,
        backbone_lr_multiplier=0.5,
    )
    body.grad = head.grad = torch.tensor([3.0, -0.2])
    optimizer.step()
    torch.testing.assert_close(head.detach(), torch.tensor([0.85, 1.05]))
    torch.testing.assert_close(body.detach(), torch.tensor([0.925, 1.025]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"optimizer": "lionn"},
            "optimizer names no optimizer of timm: 'lionn', did you mean 'lio",
        ),
        ({"optimizer": "kron"}, "optimizer names no optimizer of timm: 'kron'"),
        ({"optimizer": "fusedadam"}, "optimizer names no optimizer of timm: 'fusedadam'"),
        ({"optimizer": "lion", "momentum": 0.9}, "momentum is not an argument of timm's lion"),
        ({"optimizer": "lion", "eps": 1e-8}, "eps is not an argument of timm's lion; remove it"),
        ({"optimizer": "sgd", "betas": (0.9, 0.9)}, "betas is not an argument of timm's sgd"),
        ({"optimizer": "adan", "betas": (0.9, 0.9)}, "betas must be 3 numbers for timm's adan"),
        ({"optimizer": "lion", "betas": (0.9, 1.0)}, "betas must be in [0, 1), got 1.0"),
    ],
)
def test_what_timm_does_not_have_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        factory(parameters(), **arguments, lr=0.1)
    assert str(error.value).startswith(message)


def test_arguments_reach_the_optimizer() -> None:
    built = factory(parameters(), optimizer="nadamw", lr=0.1, betas=(0.5, 0.6), eps=1e-3)
    assert (built.defaults["betas"], built.defaults["eps"]) == ((0.5, 0.6), 1e-3)
    assert factory(parameters(), "sgdw", 0.1, momentum=0.3).defaults["momentum"] == 0.3


def test_it_says_which_steps_cannot_be_captured() -> None:
    recipe = load("quickstart", [("optimizer", "{name: timm, optimizer: adan, lr: 1e-3}")])
    adan, lion = (factory(parameters(), name, 0.1) for name in ("adan", "lion"))
    reason = "timm's adan works with numbers on the host"
    assert optimizer_problems(recipe, adan) == [f"the optimizer timm is not capturable ({reason})"]
    assert optimizer_problems(recipe, lion) == []


def test_tensors_of_the_host_in_groups_are_found() -> None:
    """As lamb has its number of steps, which the replay of a graph would not change."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    assert not keeps_state_on_host(optimizer)
    optimizer.param_groups[0]["step"] = torch.zeros(())
    assert keeps_state_on_host(optimizer)


def steps(name: str, rates: Sequence[float], as_tensors: bool) -> list[Tensor]:
    torch.manual_seed(0)
    parts = parameters()
    optimizer = factory(parts, name, 0.01)
    for step, rate in enumerate(rates):
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(rate) if as_tensors else rate
        for one in listed(parts):
            one.grad = torch.sin(one.detach() + step)
        optimizer.step()
    return [one.detach() for one in listed(parts)]


@pytest.mark.slow
@pytest.mark.parametrize("name", offered())
def test_every_optimizer_of_timm(name: str) -> None:
    """Steps can be captured unless it says that they cannot, resume exactly, and take tensors."""

    class Suite(OptimizerContract):
        component = factory

    suite, arguments = Suite(), {"optimizer": name, "lr": 0.01}
    for test in (
        suite.test_has_every_parameter_once,
        suite.test_minimizes,
        suite.test_parts_may_be_empty,
        suite.test_parameters_without_gradient_are_unchanged,
        suite.test_resumes_exactly,
    ):
        test(arguments)
    rates = [0.01, 0.007, 0.003]
    tolerance = 1e-3 if "muon" in name else 1e-6  # which computes in bfloat16
    for one, other in zip(steps(name, rates, True), steps(name, rates, False), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    if why_not_capturable(factory(parameters(), name, 0.01)) is None:
        suite.assert_capturable(arguments)
