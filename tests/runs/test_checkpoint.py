"""Checkpoints: whole or absent, and of one epoch."""

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hieraseg.errors import RecipeError
from hieraseg.runs.checkpoint import (
    load_checkpoint,
    read_metadata,
    read_state,
    save_checkpoint,
)

METADATA = {"epoch": 3, "val": [{"level": 1, "miou": 0.5}]}


def _model(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))


def _same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_round_trip(tmp_path: Path) -> None:
    model, other = _model().to(memory_format=torch.channels_last), _model()
    model(torch.rand(2, 3, 8, 8))  # moves the running mean and num_batches_tracked
    state = {"step": 7, "optimizer": torch.optim.AdamW(model.parameters()).state_dict()}
    save_checkpoint(tmp_path / "last", model.state_dict(), METADATA, state)
    assert not _same(model, other)
    load_checkpoint(tmp_path / "last", other)
    assert _same(model, other)
    assert read_metadata(tmp_path / "last") == METADATA
    read = read_state(tmp_path / "last")
    assert read["step"] == 7
    assert read["model"].keys() == model.state_dict().keys()
    assert {p.name for p in (tmp_path / "last").iterdir()} == {"model.safetensors", "state.pt"}


def test_a_checkpoint_without_state(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best", _model().state_dict(), METADATA)
    assert [p.name for p in (tmp_path / "best").iterdir()] == ["model.safetensors"]
    with pytest.raises(RecipeError, match=r"best/state\.pt: no such training state"):
        read_state(tmp_path / "best")


def test_a_damaged_state_is_one_sentence(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", _model().state_dict(), METADATA, {"step": 1})
    path = tmp_path / "last" / "state.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecipeError, match=r"state\.pt: cannot be read") as caught:
        read_state(tmp_path / "last")
    assert "\n" not in str(caught.value)


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    def tied() -> nn.ModuleList:
        layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        layers[1].weight = layers[0].weight
        return layers

    model, other = tied(), tied()
    save_checkpoint(tmp_path / "best", model.state_dict(), METADATA)
    load_checkpoint(tmp_path / "best", other)
    assert _same(model, other)


def test_a_wider_model_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best", _model(8).state_dict(), METADATA)
    with pytest.raises(RecipeError, match=r"model\.safetensors.*7 have another shape"):
        load_checkpoint(tmp_path / "best", _model(4))


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    for read in (read_metadata, lambda folder: load_checkpoint(folder, _model())):
        with pytest.raises(RecipeError, match=r"best/model\.safetensors: no such"):
            read(tmp_path / "best")


@pytest.mark.parametrize("keep", [0, 5, 40, 300, -10])
def test_a_truncated_checkpoint_is_one_sentence(tmp_path: Path, keep: int) -> None:
    folder = tmp_path / "best"
    save_checkpoint(folder, _model().state_dict(), METADATA)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    for read in (read_metadata, lambda folder: load_checkpoint(folder, _model())):
        with pytest.raises(RecipeError) as caught:
            read(folder)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_safetensors_file_of_another_program_has_no_metadata(tmp_path: Path) -> None:
    save_file(_model().state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(RecipeError, match="was not written by hieraseg"):
        read_metadata(tmp_path)


class Killed(BaseException):
    """The end of the process."""


def killed_at(number: int, operation: Callable[..., Any], after: bool) -> Callable[..., Any]:
    """The operation, except that the process ends in its n-th call, before or after it is done."""
    calls = iter(range(1, 100))

    def called(*arguments: Any, **keywords: Any) -> Any:
        end = next(calls) == number
        if end and not after:
            raise Killed
        result = operation(*arguments, **keywords)
        if end:
            raise Killed
        return result

    return called


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("target", "number"),
    [
        ("hieraseg.runs.checkpoint.save_file", 1),
        ("torch.save", 1),
        ("pathlib.Path.rename", 1),
        ("pathlib.Path.rename", 2),
        ("shutil.rmtree", 1),
        ("shutil.rmtree", 2),
    ],
)
def test_a_killed_save_leaves_a_checkpoint_of_one_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, number: int, after: bool
) -> None:
    folder, read = tmp_path / "last", _model()
    models = {epoch: _model() for epoch in (1, 2, 3)}
    save_checkpoint(folder, models[1].state_dict(), {"epoch": 1}, {"epoch": 1})
    monkeypatch.setattr(target, killed_at(number, resolve_name(target), after))
    with pytest.raises(Killed):
        save_checkpoint(folder, models[2].state_dict(), {"epoch": 2}, {"epoch": 2})
    monkeypatch.undo()
    epoch = read_metadata(folder)["epoch"]
    assert epoch in (1, 2)
    assert read_state(folder)["epoch"] == epoch
    load_checkpoint(folder, read)
    assert _same(read, models[epoch])
    save_checkpoint(folder, models[3].state_dict(), {"epoch": 3}, {"epoch": 3})
    assert read_metadata(folder)["epoch"] == read_state(folder)["epoch"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["last"], "nothing is left over"
