"""Weights files: whole, checked, never executed."""

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hieraseg.errors import RecipeError
from hieraseg.model.weights import load_weights, read_weights
from hieraseg.runs import checkpoint
from hieraseg.runs.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from hieraseg.runs.folder import RunFolder

ABOUT = {"epoch": 3, "val": [{"level": 1, "miou": 0.5}]}


def _model(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))


def _same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_round_trip(tmp_path: Path) -> None:
    model, other = _model().to(memory_format=torch.channels_last), _model()
    model(torch.rand(2, 3, 8, 8))  # moves the running mean and num_batches_tracked
    state = {"step": 7, "optimizer": torch.optim.AdamW(model.parameters()).state_dict()}
    save_checkpoint(tmp_path / "last", model, ABOUT, state)
    assert not _same(model, other)
    load_checkpoint(tmp_path / "last", other)
    assert _same(model, other)
    assert read_metadata(tmp_path / "last") == ABOUT
    assert torch.load(tmp_path / "last" / "state.pt", weights_only=True)["step"] == 7
    assert {p.name for p in (tmp_path / "last").iterdir()} == {"model.safetensors", "state.pt"}


def test_without_a_state_there_is_none(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _model(), ABOUT)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    def tied() -> nn.ModuleList:
        layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        layers[1].weight = layers[0].weight
        return layers

    model, other = tied(), tied()
    save_checkpoint(tmp_path, model, ABOUT)
    load_checkpoint(tmp_path, other)
    assert _same(model, other)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_read_weights_of_either_format(tmp_path: Path, suffix: str) -> None:
    weights, path = _model().state_dict(), tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": weights, "epoch": 1}, path)
    else:
        save_file(weights, path)
    read = read_weights(path)
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[key], weights[key]) for key in weights)


def test_weights_of_another_model_are_counted_and_none_loaded(tmp_path: Path) -> None:
    model = _model()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    weights = {key: torch.full_like(tensor, 9) for key, tensor in before.items()}
    weights["0.weight"] = torch.zeros(5, 3, 3, 3)
    weights["head.extra"] = torch.zeros(1)
    del weights["2.weight"], weights["2.bias"]
    with pytest.raises(RecipeError) as caught:
        load_weights(model, weights, "other.pt")
    message = str(caught.value)
    assert message.startswith("other.pt: ")
    assert "2 tensors are missing (the first: 2.weight)" in message
    assert "1 are unknown (the first: head.extra)" in message
    assert (
        "1 have another shape (the first: 0.weight is [5, 3, 3, 3] instead of [4, 3, 3, 3])"
    ) in message
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_a_wider_model_is_refused_by_load_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _model(8), ABOUT)
    with pytest.raises(RecipeError, match=r"model\.safetensors.*7 have another shape"):
        load_checkpoint(tmp_path, _model(4))


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    for read in (read_metadata, lambda folder: load_checkpoint(folder, _model())):
        with pytest.raises(RecipeError, match=r"best/model\.safetensors: no such"):
            read(tmp_path / "best")


@pytest.mark.parametrize("keep", [0, 5, 40, 300, -10])
def test_a_truncated_checkpoint_is_one_sentence(tmp_path: Path, keep: int) -> None:
    save_checkpoint(tmp_path, _model(), ABOUT)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    for read in (read_metadata, lambda folder: load_checkpoint(folder, _model())):
        with pytest.raises(RecipeError) as caught:
            read(tmp_path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_safetensors_file_of_others_has_nothing_about_it(tmp_path: Path) -> None:
    save_file(_model().state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(RecipeError, match="was not written by hieraseg"):
        read_metadata(tmp_path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_state_dict_is_one_sentence(tmp_path: Path, zipped: bool) -> None:
    """Whatever bytes change, either tensors come back or a RecipeError that names the file."""
    path, rng = tmp_path / "weights.pt", torch.Generator().manual_seed(0)
    torch.save(_model().state_dict(), path, _use_new_zipfile_serialization=zipped)
    whole, refusals = path.read_bytes(), []
    for _ in range(150):
        damaged = bytearray(whole)
        places = torch.randint(min(len(whole), 1500), (4,), generator=rng)
        values = torch.randint(256, (4,), generator=rng)
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            damaged[place] = value
        path.write_bytes(damaged)
        try:
            assert isinstance(read_weights(path), dict)
        except RecipeError as error:
            refusals.append(str(error))
    assert len(refusals) > 20
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in refusals)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80", b"\x80\x02."])
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"weights\.pt: cannot be read as weights \(.+\)"):
        read_weights(path)


@pytest.mark.parametrize("content", [5, [torch.zeros(1)], {"a": 1}, torch.zeros(2)])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(RecipeError, match="holds no state dict"):
        read_weights(path)


class _Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_payload_is_not_executed(tmp_path: Path, writer: str) -> None:
    path, proof = tmp_path / "weights.pt", tmp_path / "executed"
    content = {"0.weight": torch.zeros(1), "payload": _Payload(proof)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(RecipeError, match="cannot be read as weights"):
        read_weights(path)
    assert not proof.exists()
    if writer == "pickle":  # the payload works
        pickle.loads(path.read_bytes())
        assert proof.exists()


@pytest.mark.parametrize("fails", ["save_file", "replace"])
def test_a_failed_save_leaves_the_previous_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    first, second, read = _model(), _model(), _model()
    save_checkpoint(tmp_path, first, ABOUT)

    def full(weights: Any, path: Path, *_: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = checkpoint if fails == "save_file" else os
    monkeypatch.setattr(owner, fails, full)
    target = tmp_path / "model.safetensors"
    if fails == "replace":
        monkeypatch.setattr(os, "replace", lambda *_: full({}, tmp_path / "unfinished"))
    whole = target.read_bytes()
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path, second, {"epoch": 4})
    assert target.read_bytes() == whole
    load_checkpoint(tmp_path, read)
    assert _same(read, first)
    assert read_metadata(tmp_path) == ABOUT
    monkeypatch.undo()
    save_checkpoint(tmp_path, second, {"epoch": 5})
    load_checkpoint(tmp_path, read)
    assert _same(read, second)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_run_folder_below_a_broken_link_is_refused(tmp_path: Path) -> None:
    """`runs` may be a link to a disk that is not mounted: that is no taken name."""
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted")
    with pytest.raises(RecipeError, match="the run folder cannot be made"):
        RunFolder.create(tmp_path / "runs", "quickstart", "run", 0)


def test_a_taken_run_folder_gets_a_number(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path, "quickstart", "run", 0).path.name for _ in range(3)]
    assert names == ["run-seed0", "run.2-seed0", "run.3-seed0"]
