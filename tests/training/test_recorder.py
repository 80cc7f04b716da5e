"""What a run writes, on disks that are full: whole files, one sentence, and nothing left over."""

import itertools
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hieraseg.cli import main
from hieraseg.errors import WriteError
from hieraseg.runs.checkpoint import load_checkpoint, save_checkpoint
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.leftovers import find_leftovers
from hieraseg.runs.records import Cost
from tests.support.oracle import write_oracle_recipe
from tests.support.runs import read_json, read_metrics

resource = pytest.importorskip("resource", reason="Windows limits no file sizes")
Captured = pytest.CaptureFixture[str]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Make the system refuse to write files of more bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [100, 5_000, 45_000, 60_000])
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, size: int) -> None:
    """Weights, then the state of training: safetensors and torch have errors of their own."""
    model = nn.Linear(100, 100)
    metadata, state = {"epoch": 1}, {"optimizer": torch.zeros(20_000)}
    save_checkpoint(tmp_path / "last", model.state_dict(), metadata, state)
    with pytest.raises(WriteError, match="last: cannot be written") as caught, largest_file(size):
        save_checkpoint(tmp_path / "last", nn.Linear(100, 100).state_dict(), metadata, state)
    assert "\n" not in str(caught.value)
    assert "too large" in str(caught.value)
    loaded = nn.Linear(100, 100)
    load_checkpoint(tmp_path / "last", loaded)
    assert torch.equal(loaded.weight, model.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_full_disk_keeps_scores_and_counts(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "recipe", "run", 0)
    folder.write_scores("val", {"images": 1}, {"pixels": np.ones(9, int)}, ["a"])
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    counts = {"pixels": np.random.default_rng(0).integers(0, 2**60, 10_000)}
    with pytest.raises(WriteError, match=r"val\.npz: cannot be written"), largest_file(10_000):
        folder.write_scores("val", {"images": 2}, counts, ["a"])
    after = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("number", [1, 3, 5, 7, 8, 10, 13, 15, 18])
def test_a_run_on_a_full_disk_ends_with_a_sentence(
    tmp_path: Path,
    number: int,
    oracle_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    """Whichever of its files it is that finds the disk full. Its images are in the cache."""
    calls, fsync = itertools.count(1), os.fsync

    def full(descriptor: int) -> None:
        if next(calls) >= number:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", full)
    recipe = write_oracle_recipe(tmp_path)
    code = main(["run", recipe, "--out", str(tmp_path / "runs")])
    out, err = capsys.readouterr()
    assert code == 2
    assert "Traceback" not in err
    assert re.search(r"cannot be written \(No space left on device\)", err.splitlines()[-1])
    for file in tmp_path.glob("runs/**/*.json"):
        json.loads(file.read_text())
    assert {path.name for path in find_leftovers(tmp_path)} <= {"result.lock"}
    assert not list(tmp_path.glob("runs/*/*/result.json"))
    if list(tmp_path.glob("runs/*/*/checkpoints/best")):
        assert "1.000" in out, "scores that cannot be written are printed"


def test_a_finished_run_says_what_it_cost(oracle_run: Path) -> None:
    """Scores and cost are written in one change, with what else the scores depend on."""
    result, provenance = (
        read_json(oracle_run / f"{name}.json") for name in ("result", "provenance")
    )
    cost = result["cost"]
    assert cost["steps"] == 1
    (epoch,) = read_metrics(oracle_run)
    assert cost["images_per_second"] == epoch["images_per_second"] > 0
    assert cost["peak_memory_bytes"] > 1e7
    assert set(cost) >= Cost.__annotations__.keys()
    assert result["splits"]["val"]["tree"]["background"] == "background"
    assert provenance["precision"] == "32-true"
    assert provenance["numerics"]["threads"] == torch.get_num_threads()
