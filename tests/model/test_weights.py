"""Weight files: checked against the model, never executed."""

import os
import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hieraseg.errors import RecipeError
from hieraseg.model.weights import load_weights, read_weights, without_prefix


def _model(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))


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


@pytest.mark.parametrize(
    "keys",
    [("state_dict",), ("model_state_dict",), ("model",), ("teacher",), ("model", "state_dict")],
)
def test_the_state_dict_of_a_training_checkpoint_is_found(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    weights, path = _model().state_dict(), tmp_path / "weights.pth"
    content: Any = weights
    for key in reversed(keys):
        content = {"epoch": 3, "student": {"0.weight": torch.zeros(1)}, key: content}
    torch.save({**content, "args": Namespace(lr=0.1)}, path)
    read = read_weights(path)
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[key], weights[key]) for key in weights)


def test_a_tensor_with_the_name_of_a_wrapper_is_a_weight(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": torch.ones(2), "other": torch.zeros(1)}, path)
    assert set(read_weights(path)) == {"model", "other"}


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.backbone.", "a.b.c.", ""])
def test_the_prefix_of_names_is_removed(prefix: str) -> None:
    own = _model().state_dict()
    weights = {f"{prefix}{key}": one for key, one in own.items()}
    weights |= {f"{prefix}head.weight": torch.zeros(1), "loss.center": torch.zeros(2)}
    found = without_prefix(weights, own)
    assert set(found) == {*own, "head.weight", "loss.center"}
    assert all(found[key] is own[key] for key in own)


def test_the_prefix_is_that_of_most_names() -> None:
    """A head may have a layer of the model's name, and a layer the name of a prefix."""
    own = ["body.weight", "body.bias", "head.weight"]
    weights = {key: torch.zeros(1) for key in ["x.body.weight", "x.body.bias", "y.head.weight"]}
    assert set(without_prefix(weights, own)) == {"body.weight", "body.bias", "y.head.weight"}
    nested = {key: torch.zeros(1) for key in ["weight", "bias", "inner.weight"]}
    assert set(without_prefix(nested, ["weight", "bias"])) == set(nested)
    assert set(without_prefix(nested, ["other"])) == set(nested)
    assert without_prefix({}, ["other"]) == {}


def test_of_equal_names_that_with_the_prefix_counts() -> None:
    weights = {"net.a": torch.ones(1), "net.b": torch.ones(1), "a": torch.zeros(1)}
    found = without_prefix(weights, ["a", "b"])
    assert {key: one.item() for key, one in found.items()} == {"a": 1, "b": 1}


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
    assert "2 tensors are missing (first: 2.weight)" in message
    assert "1 are unexpected (first: head.extra)" in message
    assert (
        "1 have another shape or type (first: 0.weight is [5, 3, 3, 3] instead of [4, 3, 3, 3])"
    ) in message
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
def test_numbers_of_another_type_are_refused(dtype: torch.dtype) -> None:
    """Quantized weights need their scales, which torch's own loading does not ask for."""
    weights = {key: one.to(dtype) for key, one in _model().state_dict().items()}
    with pytest.raises(RecipeError, match=rf"0.weight is {dtype} instead of torch.float32"):
        load_weights(_model(), weights, "quantized.pt")
    half = {key: one.half() for key, one in _model().state_dict().items()}
    load_weights(_model(), half, "half.pt")


def test_batch_counters_may_be_missing() -> None:
    """As torch's own strict loading allows in a state dict that is older than they are."""
    model, oracle = _model(), _model()
    old = {key: one + 1 for key, one in _model().state_dict().items() if "num_batches" not in key}
    oracle.load_state_dict(old, strict=True)
    load_weights(model, old, "old.pth")
    expected = oracle.state_dict()
    assert all(torch.equal(one, expected[key]) for key, one in model.state_dict().items())


@pytest.mark.parametrize("key", ["1.running_mean", "1.weight"])
def test_no_other_tensor_may_be_missing(key: str) -> None:
    weights = _model().state_dict()
    del weights[key]
    with pytest.raises(RecipeError, match=f"1 tensors are missing \\(first: {key}\\)"):
        load_weights(_model(), weights, "old.pth")


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
def test_a_file_without_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"weights\.pt: cannot be read as weights \(.+\)"):
        read_weights(path)


@pytest.mark.parametrize(
    "content", [5, [torch.zeros(1)], {"a": 1}, torch.zeros(2), {1: torch.zeros(2)}]
)
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(RecipeError, match=r"holds a \w+ instead of a state dict"):
        read_weights(path)


def test_other_objects_than_tensors_are_named_without_the_advice_of_torch(tmp_path: Path) -> None:
    """Which is to execute what is in the file."""
    torch.save(_model(), tmp_path / "model.pt")
    with pytest.raises(RecipeError, match=r"\(it holds other objects than tensors\); save a plain"):
        read_weights(tmp_path / "model.pt")
    (tmp_path / "notes.pt").write_text("hello\nworld")
    with pytest.raises(RecipeError, match=r"\(it is damaged, or torch.save did not write it\)"):
        read_weights(tmp_path / "notes.pt")


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
