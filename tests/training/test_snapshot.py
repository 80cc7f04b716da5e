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
