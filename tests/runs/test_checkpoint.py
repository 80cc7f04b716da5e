"""Checkpoints: whole or absent, and of one epoch."""

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hieraseg.errors import DivergedError, RecipeError
from hieraseg.runs.checkpoint import (
    load_checkpoint,
    read_metadata,
    read_state,
    save_checkpoint,
)
from hieraseg.runs.records import sha256

METADATA: dict[str, Any] = {
    "epoch": 3,
    "num_classes": [2, 3],
    "embedding_channels": 0,
    "activation": "softmax",
    "size": [32, 48],
    "classes": [["background", "body"], ["background", "arm", "leg"]],
}


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
    names = {p.name for p in (tmp_path / "last").iterdir()}
    assert names == {"model.safetensors", "state.pt", "checksums.json"}


def test_an_interrupt_in_the_middle_of_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch raises an error of its own while it handles an interrupt."""

    def save(state: Any, file: Any) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "last", _model().state_dict(), METADATA, {"step": 7})
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_state(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best", _model().state_dict(), METADATA)
    assert not (tmp_path / "best" / "state.pt").exists()
    with pytest.raises(RecipeError, match=r"best/state\.pt: no such training state"):
        read_state(tmp_path / "best")


def test_a_damaged_state_is_one_sentence(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", _model().state_dict(), METADATA, {"step": 1})
    path = tmp_path / "last" / "state.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecipeError, match=r"state\.pt: is not the file that checksums") as caught:
        read_state(tmp_path / "last")
    assert "\n" not in str(caught.value)
    _update_checksums(tmp_path / "last")  # as if it had been written so
    with pytest.raises(RecipeError, match=r"state\.pt: is damaged") as caught:
        read_state(tmp_path / "last")
    assert "\n" not in str(caught.value)


def test_a_state_without_checksums_is_not_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", _model().state_dict(), METADATA, {"step": 1})
    (tmp_path / "last" / "checksums.json").unlink()
    with pytest.raises(RecipeError, match=r"checksums\.json: is damaged.*there is no such file"):
        read_state(tmp_path / "last")


@pytest.mark.parametrize("content", [[1], 3, "text", {1: 2}])
def test_a_state_of_another_type_is_one_sentence(tmp_path: Path, content: Any) -> None:
    save_checkpoint(tmp_path / "last", _model().state_dict(), METADATA, {"step": 1})
    torch.save(content, tmp_path / "last" / "state.pt")
    _update_checksums(tmp_path / "last")
    with pytest.raises(RecipeError, match=r"state\.pt: is damaged, or was not written by hieraseg"):
        read_state(tmp_path / "last")


def _update_checksums(folder: Path) -> None:
    names = json.loads((folder / "checksums.json").read_text())
    digests = {name: sha256(folder / name) for name in names}
    (folder / "checksums.json").write_text(json.dumps(digests))


def _change_bit(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_a_changed_bit_is_seen(tmp_path: Path) -> None:
    """Formats alone do not tell: safetensors has no checksum, and a weight is any number."""
    folder = tmp_path / "last"
    save_checkpoint(folder, _model().state_dict(), METADATA, {"step": torch.ones(100)})
    _change_bit(folder / "model.safetensors", -9)
    for read in (read_state, lambda folder: load_checkpoint(folder, _model())):
        with pytest.raises(RecipeError, match=r"model\.safetensors: is not the file that"):
            read(folder)
    _change_bit(folder / "model.safetensors", -9)
    load_checkpoint(folder, _model())
    _change_bit(folder / "state.pt", 900)
    with pytest.raises(RecipeError, match=r"state\.pt: is not the file that"):
        read_state(folder)


def test_weights_of_another_epoch_are_seen(tmp_path: Path) -> None:
    """A checkpoint is of one epoch, also when its files are copied one by one."""
    for epoch in (1, 2):
        metadata = {**METADATA, "epoch": epoch}
        save_checkpoint(tmp_path / str(epoch), _model().state_dict(), metadata, {"step": epoch})
    shutil.copy(tmp_path / "2/model.safetensors", tmp_path / "1/model.safetensors")
    with pytest.raises(RecipeError, match=r"1/model\.safetensors: is not the file that"):
        read_state(tmp_path / "1")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_not_written(tmp_path: Path, value: float) -> None:
    """The checkpoint of an earlier epoch stays as it is."""
    model = _model()
    save_checkpoint(tmp_path / "best", model.state_dict(), METADATA)
    weights = {**model.state_dict(), "0.bias": torch.tensor([0.0, value, 0.0, 0.0])}
    with pytest.raises(DivergedError, match=r"best: not written, because the weights 0\.bias"):
        save_checkpoint(tmp_path / "best", weights, METADATA)
    load_checkpoint(tmp_path / "best", model)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_weights_that_are_not_finite_are_not_used(tmp_path: Path) -> None:
    """Older versions wrote them; scores of them look like any others."""
    weights = {**_model().state_dict(), "0.bias": torch.full((4,), math.nan)}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(DivergedError, match=r"safetensors: the weights 0\.bias are not finite"):
        load_checkpoint(tmp_path, _model())


def test_files_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    """safetensors writes files that only their owner can read."""
    before = os.umask(0o027)
    try:
        save_checkpoint(tmp_path / "last", _model().state_dict(), METADATA, {"step": 1})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "last").iterdir()}
    assert set(modes.values()) == {0o640}, modes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_classes", [2, 3, {}]),
        ("num_classes", [2, 3, 4]),
        ("num_classes", []),
        ("size", [[32], 32]),
        ("size", None),
        ("size", [32]),
        ("size", [0, 32]),
        ("size", [10**9, 32]),
        ("epoch", "3"),
        ("epoch", True),
        ("activation", "gelu"),
        ("activation", 3),
        ("classes", [["a"], 3]),
        ("classes", []),
        ("embedding_channels", -1),
        ("embedding_channels", 1.5),
        ("void", ["255"]),
        ("parents", {"a": "b"}),
    ],
)
def test_metadata_of_wrong_types_is_one_sentence(tmp_path: Path, key: str, value: Any) -> None:
    save_checkpoint(tmp_path / "best", _model().state_dict(), {**METADATA, key: value})
    with pytest.raises(RecipeError, match="is damaged, or was not written by hieraseg") as caught:
        read_metadata(tmp_path / "best")
    assert key in str(caught.value)
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


@pytest.mark.parametrize("cleans", [False, True], ids=["killed", "interrupted"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("target", "number"),
    [
        ("hieraseg.runs.checkpoint.save_file", 1),
        ("torch.save", 1),
        ("pathlib.Path.rename", 1),
        ("pathlib.Path.rename", 2),
    ],
)
def test_an_ended_save_leaves_a_checkpoint_of_one_epoch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    number: int,
    after: bool,
    cleans: bool,
) -> None:
    folder, read = tmp_path / "last", _model()
    models = {epoch: _model() for epoch in (1, 2, 3)}
    weights = {epoch: model.state_dict() for epoch, model in models.items()}
    save_checkpoint(folder, weights[1], {**METADATA, "epoch": 1}, {"epoch": 1})
    monkeypatch.setattr(target, killed_at(number, resolve_name(target), after))
    if not cleans:  # a process that is killed does not come to it
        monkeypatch.setattr("hieraseg.files.writing._remove", lambda path: None)
    with pytest.raises(Killed):
        save_checkpoint(folder, weights[2], {**METADATA, "epoch": 2}, {"epoch": 2})
    monkeypatch.undo()
    epoch = read_metadata(folder)["epoch"]
    assert epoch in (1, 2)
    assert read_state(folder)["epoch"] == epoch
    load_checkpoint(folder, read)
    assert _same(read, models[epoch])
    save_checkpoint(folder, weights[3], {**METADATA, "epoch": 3}, {"epoch": 3})
    assert read_metadata(folder)["epoch"] == read_state(folder)["epoch"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["last"], "nothing is left over"
