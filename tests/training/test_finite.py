"""Steps that are not finite: what they leave as it was."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hieraseg import registry
from hieraseg.errors import RecipeError
from hieraseg.training.finite import (
    BadStep,
    FiniteSteps,
    gradient_norm,
    read_report,
    unless_bad,
    with_gradient,
)
from tests.support.processes import as_processes

CPU = torch.device("cpu")
NAN, INF = torch.tensor(torch.nan), torch.tensor(torch.inf)
ONE = torch.tensor(1.0)


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def build(name: str, model: nn.Module, **arguments: Any) -> Optimizer:
    parameters = {"backbone": [], "head": list(model.parameters())}
    optimizer: Optimizer = registry.optimizers.get(name)(parameters=parameters, **arguments)
    return optimizer


def take_step(model: nn.Module, optimizer: Optimizer, seed: int, ok: bool = True) -> None:
    optimizer.zero_grad()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    (model(images).square().mean() * (1 if ok else torch.nan)).backward()
    with unless_bad(optimizer, torch.tensor(ok), FiniteSteps(nn.Linear(1, 1), CPU)):
        optimizer.step()


def copies(values: Iterator[Tensor]) -> list[Tensor]:
    return [value.detach().clone() for value in values]


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("adamw", {"lr": 0.1}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("sgd", {"lr": 0.1, "momentum": 0.0}),
    # One that keeps its learning rates of earlier steps, and one that computes weights anew.
    ("timm", {"optimizer": "rmsproptf", "lr": 0.1}),
    ("timm", {"optimizer": "madgrad", "lr": 0.1, "weight_decay": 0.1}),
    ("timm", {"optimizer": "lion", "lr": 0.1, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("name", "arguments"), OPTIMIZERS)
@pytest.mark.parametrize("steps", [0, 2])
def test_weights_stay_as_they_are(name: str, arguments: dict[str, Any], steps: int) -> None:
    model = small_model()
    optimizer = build(name, model, **arguments)
    for seed in range(steps):
        take_step(model, optimizer, seed)
    before = copies(model.parameters())
    take_step(model, optimizer, 5, ok=False)
    assert all(map(torch.equal, model.parameters(), before))
    take_step(model, optimizer, 6)
    assert not all(map(torch.equal, model.parameters(), before)), "the next one changes them"
    assert all(one.isfinite().all() for one in model.parameters())


@pytest.mark.parametrize(
    ("name", "arguments", "steps"),
    [*((*one, 1) for one in OPTIMIZERS[:3]), (*OPTIMIZERS[0], 0), (*OPTIMIZERS[2], 0)],
)
def test_a_fused_optimizer_goes_on_as_without_the_step(
    name: str, arguments: dict[str, Any], steps: int
) -> None:
    """Its momentum and its number of steps, too."""
    ends = []
    for bad in (False, True):
        model = small_model()
        optimizer = build(name, model, **arguments)
        for seed in range(steps):
            take_step(model, optimizer, seed)
        buffers = copies(model.buffers())
        if bad:
            take_step(model, optimizer, 2, ok=False)
            for one, before in zip(model.buffers(), buffers, strict=True):
                one.copy_(before)
        take_step(model, optimizer, 3)
        ends.append(model.state_dict())
    torch.testing.assert_close(ends[1], ends[0], rtol=0, atol=0)


def test_on_a_cpu_nothing_is_copied_in_good_steps() -> None:
    weight = nn.Parameter(ONE.clone())
    weight.square().backward()
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with unless_bad(optimizer, torch.tensor(True), FiniteSteps(nn.Linear(1, 1), CPU)):
        before = weight._version
        optimizer.step()
        steps = weight._version - before
    assert weight._version == before + steps


def test_buffers_are_put_back() -> None:
    """Statistics of batch normalization and its number of batches."""
    model = small_model()
    finite = FiniteSteps(model, CPU)
    for images, ok in ((torch.randn(2, 3, 8, 8), True), (INF.expand(2, 3, 8, 8), False)):
        before, kept = copies(model.buffers()), finite.buffers()
        model(images)
        finite.restore(kept, torch.tensor(ok))
        after = copies(model.buffers())
        assert {torch.equal(*pair) for pair in zip(after, before, strict=True)} == {not ok}
        assert all(one.isfinite().all() for one in after)
    assert model[1].num_batches_tracked == 1
    without = FiniteSteps(nn.Linear(1, 1), CPU)
    without.restore(without.buffers(), torch.tensor(False))


def report(finite: FiniteSteps, *terms: str) -> tuple[BadStep | None, bool]:
    return read_report(terms, finite.report(terms))


def test_the_first_step_that_was_not_finite_is_kept() -> None:
    finite = FiniteSteps(nn.Linear(1, 1), CPU)
    assert finite.check({"a": ONE, "b": ONE}, ONE)
    assert report(finite, "a", "b") == (None, True)
    assert not finite.check({"a": ONE, "b": INF}, NAN)
    assert not finite.check({"a": NAN, "b": ONE}, NAN)
    assert not finite.check({"a": ONE, "b": ONE}, ONE), "the weights stay as they are"
    assert report(finite, "a", "b") == (BadStep(2, ["b"]), True)


def test_later_steps_count_again_where_one_is_skipped() -> None:
    finite = FiniteSteps(nn.Linear(1, 1), CPU, stops=False)
    assert not finite.check({"a": ONE}, INF)
    assert finite.check({"a": ONE}, ONE)
    assert report(finite, "a") == (BadStep(1, []), True)
    finite.forget()
    assert report(finite, "a") == (None, True)
    assert not finite.check({"a": NAN}, NAN)
    assert report(finite, "a") == (BadStep(3, ["a"]), True)


def test_with_a_gradient_scaler_only_the_loss_counts() -> None:
    finite = FiniteSteps(nn.Linear(1, 1), CPU, has_scaler=True)
    assert finite.check({"a": ONE}, INF)
    assert not finite.check({"a": INF}, ONE)


@pytest.mark.parametrize("unscaled", [False, True], ids=["", "clipped"])
def test_a_gradient_scaler_goes_on(unscaled: bool) -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    finite = FiniteSteps(model, CPU, stops=False, has_scaler=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor in (1.0, torch.nan, 1.0):
        before = copies(model.parameters())
        optimizer.zero_grad()
        loss = factor * model(torch.ones(1, 2)).sum()
        scaler.scale(with_gradient(loss)).backward()
        if unscaled:
            scaler.unscale_(optimizer)
        ok = finite.check({"a": loss}, gradient_norm(optimizer))
        with unless_bad(optimizer, ok, finite):
            scaler.step(optimizer)
        scaler.update()
        assert all(map(torch.equal, model.parameters(), before)) == (factor != 1)
    assert all(one.isfinite().all() for one in model.parameters())


def test_a_gradient_that_is_always_zero() -> None:
    finite = FiniteSteps(nn.Linear(1, 1), CPU)
    finite.check({"a": ONE}, 0 * ONE)
    assert report(finite, "a") == (None, False)
    finite.check({"a": ONE}, ONE)
    finite.check({"a": ONE}, 0 * ONE)
    assert report(finite, "a") == (None, True)


@pytest.mark.parametrize("stops", [False, True])
def test_what_was_found_is_saved(stops: bool) -> None:
    finite, restored = (FiniteSteps(nn.Linear(1, 1), CPU, stops) for _ in range(2))
    finite.check({"a": ONE}, ONE)
    assert not finite.state_dict()["stopped"]
    finite.check({"a": NAN}, NAN)
    assert finite.state_dict()["stopped"] == stops
    if not stops:  # else it is not written
        restored.load_state_dict(finite.state_dict())
        assert report(restored, "a")[0] == BadStep(2, ["a"])


def test_steps_that_were_skipped_do_not_stop_a_run_that_goes_on() -> None:
    skips, stops = FiniteSteps(nn.Linear(1, 1), CPU, stops=False), FiniteSteps(nn.Linear(1, 1), CPU)
    skips.check({"a": NAN}, NAN)
    stops.load_state_dict(skips.state_dict())
    assert stops.check({"a": ONE}, ONE)
    assert not stops.check({"a": NAN}, NAN)
    assert report(stops, "a")[0] == BadStep(3, ["a"])


def test_processes_agree_and_name_all_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The norm is that of averaged gradients; a gradient scaler has none that could be used."""

    def train(rank: int) -> tuple[bool, BadStep | None]:
        finite = FiniteSteps(nn.Linear(1, 1), CPU, has_scaler=True)
        terms = {"a": NAN if rank == 0 else ONE, "b": ONE, "c": INF if rank == 1 else ONE}
        return bool(finite.check(terms, ONE)), report(finite, *terms)[0]

    assert as_processes(monkeypatch, 2, train) == [(False, BadStep(1, ["a", "c"]))] * 2


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_loss_that_is_not_finite_has_such_a_gradient(value: float) -> None:
    """Even if its gradient does not depend on its value."""
    weight = nn.Parameter(ONE.clone())
    optimizer = torch.optim.SGD([weight])
    with_gradient(2 * weight + value).backward()
    assert not gradient_norm(optimizer).isfinite()
    optimizer.zero_grad()
    with_gradient(2 * weight).backward()
    assert gradient_norm(optimizer) == 2


def test_a_loss_without_a_gradient_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"loss: no weight of the model has an effect on it"):
        with_gradient(ONE)


def test_nothing_is_read_back() -> None:
    """A step with tensors that have no data."""
    model = small_model().to("meta")
    finite = FiniteSteps(model, torch.device("meta"))
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    for _ in range(2):
        kept = finite.buffers()
        with_gradient(model(torch.zeros(2, 3, 8, 8, device="meta")).mean()).backward()
        ok = finite.check({"a": torch.zeros((), device="meta")}, gradient_norm(optimizer))
        finite.restore(kept, ok)
        with unless_bad(optimizer, ok, finite):
            optimizer.step()
        finite.report(["a"])
