"""Snapshots: copies that later steps do not change."""

from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hieraseg.training.snapshot import Snapshot


def test_later_changes_are_not_in_it() -> None:
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 3, 8, 8)).sum().backward()
        optimizer.step()

    step()
    snapshot = Snapshot({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    weight, average = (
        model.weight.detach().clone(),
        optimizer.state[model.weight]["exp_avg"].clone(),
    )
    step()
    copied = snapshot.get()
    assert torch.equal(copied["model"]["weight"], weight)
    assert not torch.equal(copied["model"]["weight"], model.weight)
    assert torch.equal(copied["optimizer"]["state"][0]["exp_avg"], average)
    assert copied["model"]["weight"].stride() == weight.stride()
    assert not copied["model"]["weight"].requires_grad
    optimizer.load_state_dict(copied["optimizer"])


def test_plain_values_stay_and_containers_are_copied() -> None:
    groups: list[Any] = [{"lr": 0.1, "betas": (0.9, 0.99), "params": [0, 1]}]
    snapshot = Snapshot({"groups": groups, "none": None})
    groups[0]["lr"] = 1.0
    groups[0]["params"].append(2)
    expected = [{"lr": 0.1, "betas": (0.9, 0.99), "params": [0, 1]}]
    assert snapshot.get() == {"groups": expected, "none": None}


def test_tensors_of_cuda_are_copied_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into pinned memory; an event after all copies is waited for by whoever reads them."""
    events, streams, copies = MagicMock(), MagicMock(), []
    monkeypatch.setattr("torch.cuda.Event", events)
    monkeypatch.setattr("torch.cuda.current_stream", streams)
    copy = torch.Tensor.copy_

    def noted(self: torch.Tensor, other: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        copies.append((self.device.type, other.device.type, non_blocking))
        return copy(self, other, non_blocking)

    monkeypatch.setattr(torch.Tensor, "copy_", noted)
    with FakeTensorMode():
        weight = torch.ones(4, 3, 2, 2, device="cuda").to(memory_format=torch.channels_last)
        snapshot = Snapshot({"weight": weight, "step": torch.zeros((), device="cuda")})
        assert copies == [("cpu", "cuda", True)] * 2
        events.assert_called_once_with(blocking=True)
        events().record.assert_called_once_with(streams())
        events().synchronize.assert_not_called()
        copied = snapshot.get()
    events().synchronize.assert_called_once_with()
    assert copied["weight"].device.type == "cpu"
    assert copied["weight"].stride() == weight.stride()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_computes_on_while_it_copies() -> None:
    weight, other = torch.zeros(1000, 1000, device="cuda"), torch.rand(4000, 4000, device="cuda")
    Snapshot(weight).get()  # the first pinned memory is allocated here, which may wait
    for _ in range(50):
        other = (other @ other).clamp(0, 1)
    weight.add_(1)
    snapshot = Snapshot(weight)
    weight.add_(1)
    is_done = torch.cuda.current_stream().query()
    copied = snapshot.get()
    assert not is_done, "the snapshot has waited for the device"
    assert copied.is_pinned()
    assert torch.equal(copied, torch.ones(1000, 1000))
    assert torch.equal(weight.cpu(), torch.full((1000, 1000), 2.0))
