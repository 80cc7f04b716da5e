"""Runs that are not finite: what they say, keep and leave, and how they go on."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hieraseg.cli import main
from hieraseg.data.sampling import training_order
from hieraseg.recipe import load
from hieraseg.runs.folder import RunFolder
from hieraseg.training.diagnosis import diagnose
from hieraseg.training.finite import BadStep
from hieraseg.training.setup import set_up
from tests.support.processes import write_recipe
from tests.support.runs import read_json, read_metrics

Captured = pytest.CaptureFixture[str]
PLUGIN = Path(__file__).parents[1] / "support/breaking_plugin.py"
SETTINGS = (
    *("--plugin", str(PLUGIN), "--loss", "breaking", "--schedule", "constant"),
    *("--optimizer.momentum", "0.9", "--data.train_images", "8", "--training.batch_size", "2"),
    *("--training.epochs", "3", "--checkpoints.every", "3 steps"),
)
"""Three epochs of four steps."""
AT_SIX = ("--loss.at", str(5 / 12))
"""The loss of step 6 is not finite."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


def run(recipe: str, out: Path, *overrides: str, code: int = 0) -> Path:
    assert main(["run", recipe, *SETTINGS, *overrides, "--out", str(out)]) == code
    (folder,) = out.glob("*/*")
    return folder


def ids(step: int) -> list[str]:
    order = training_order(8, 2, 0, epoch=(step - 1) // 4 + 1)
    return [f"train-{row}" for row in order[(step - 1) % 4].tolist()]


def weights(folder: Path, checkpoint: str = "checkpoints/last") -> dict[str, torch.Tensor]:
    return load_file(folder / checkpoint / "model.safetensors")


@pytest.fixture(scope="module")
def before(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights after five steps."""
    out = tmp_path_factory.mktemp("before")
    return weights(run(recipe, out, *AT_SIX, "--loss.at", "2", "--training.max_steps", "5"))


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["--loss.value", ".inf"], "the term broken of the loss is not finite"),
        (
            ["--loss.place", "gradient"],
            "the gradient of the weights decoder.heads.0.bias and of 1 more is not finite",
        ),
    ],
    ids=["term", "gradient"],
)
def test_a_step_that_is_not_finite(
    overrides: list[str],
    what: str,
    recipe: str,
    before: dict[str, torch.Tensor],
    tmp_path: Path,
    capsys: Captured,
) -> None:
    folder = run(recipe, tmp_path, *AT_SIX, *overrides, code=4)
    one, other = ids(6)
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hieraseg: error: training diverged in epoch 2, step 6, with the images {one} and "
        f"{other}: {what}; lower optimizer.lr, set training.clip_norm, or skip such steps by "
        f"`hieraseg resume {folder} --training.on_nonfinite skip`; {folder}/nonfinite has the "
        f"batch and the weights before it; the checkpoint of epoch 1 is kept in {folder}"
    )
    saved = weights(folder, "nonfinite")
    torch.testing.assert_close(saved, before, rtol=0, atol=0)
    record = read_json(folder / "nonfinite/step.json")
    assert (record["epoch"], record["step"], record["images"]) == (2, 6, [one, other])
    assert record["terms"] == (["broken"] if "term" in what else [])


def test_the_saved_batch_repeats_it(recipe: str, tmp_path: Path) -> None:
    """As docs/training.md says."""
    run_folder = run(recipe, tmp_path, *AT_SIX, code=4)
    text = (Path(__file__).parents[2] / "docs/training.md").read_text()
    (block,) = re.findall(r"```python\n((?:(?!```).)*nonfinite.*?)```", text, re.DOTALL)
    found: dict[str, Any] = {}
    exec(block.replace("runs/quickstart/base-seed0", str(run_folder)), found)
    assert found["terms"]["broken"].isnan()
    assert found["terms"]["marginal_ce_level1"].isfinite()
    assert found["batch"]["images"].shape == (2, 3, 16, 16)


def test_an_image_that_is_not_finite(recipe: str, tmp_path: Path, capsys: Captured) -> None:
    run(recipe, tmp_path, "--augmentation.transforms", "[infinite]", code=4)
    assert (
        f"step 1, with the images {' and '.join(ids(1))}: after augmentation, the image "
        f"{ids(1)[0]} is not finite; change augmentation.transforms; "
    ) in capsys.readouterr().err


def test_such_steps_are_skipped(recipe: str, tmp_path: Path, capsys: Captured) -> None:
    """Whether from the beginning, or when the run is resumed; all else goes on as it was."""
    skip = ("--training.on_nonfinite", "skip")
    whole = run(recipe, tmp_path / "whole", *AT_SIX, *skip)
    assert "warning: step 6 was skipped, since the term broken of" in capsys.readouterr().err
    assert [record["skipped_steps"] for record in read_metrics(whole)] == [0, 1, 0]
    stopped = run(recipe, tmp_path / "stopped", *AT_SIX, code=4)
    assert main(["resume", str(stopped)]) == 4, "it is the same run"
    assert main(["resume", str(stopped), "--optimizer.lr", "0.1"]) == 2
    assert "--optimizer.lr: cannot be changed" in capsys.readouterr().err
    assert main(["resume", str(stopped), *skip]) == 0
    torch.testing.assert_close(weights(stopped), weights(whole), rtol=0, atol=0)
    for one, other in zip(read_metrics(stopped), read_metrics(whole), strict=True):
        assert (one["loss"], one["val"]) == (other["loss"], other["val"])


def test_a_skipped_step_changes_nothing(
    recipe: str, before: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    skip = ("--training.on_nonfinite", "skip", "--training.max_steps", "6")
    folder = run(recipe, tmp_path, "--loss.at", str(5 / 6), *skip)
    torch.testing.assert_close(weights(folder), before, rtol=0, atol=0)


@pytest.mark.slow
def test_several_processes_name_the_images_of_all(tmp_path: Path) -> None:
    """The loss of one of them is not finite; its gradient would be."""
    words = [sys.executable, "-m", "hieraseg", "run", write_recipe(tmp_path)]
    words += ["--out", str(tmp_path / "runs"), *SETTINGS, "--training.devices", "2"]
    words += ["--loss", "odd", "--loss.how", "term", "--loss.rank", "1", "--loss.step", "6"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 4, done.stderr
    said = f"in epoch 2, step 6, with the images {' and '.join(ids(6))}: the term odd of the loss"
    assert done.stderr.count(said) == 1
    (folder,) = tmp_path.glob("runs/*/*")
    assert load_file(folder / "nonfinite/batch.safetensors")["images"].shape[0] == 2


def test_synced_batch_normalization_is_not_repeated_by_one_process(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for the others, which wait for what the first one finds."""
    overrides = [("training.epochs", "1"), ("loss", "breaking"), ("loss.place", "gradient")]
    parts, state = set_up(load(recipe, [*overrides, ("loss.at", "0.0")], [PLUGIN]))
    heads = cast(nn.ModuleList, cast(nn.Module, state.model.decoder).heads)
    heads[0] = nn.Sequential(nn.SyncBatchNorm(3), heads[0])
    folder = RunFolder(tmp_path)
    monkeypatch.setattr("hieraseg.training.diagnosis.num_processes", lambda: 2)
    found = str(diagnose(parts, state, folder, BadStep(1, [])))
    assert "the gradient is not finite; lower optimizer.lr" in found
    assert (folder.nonfinite / "batch.safetensors").is_file()


def test_a_run_folder_with_a_full_disk(
    recipe: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hieraseg.training.diagnosis.save_file", full)
    folder = run(recipe, tmp_path, *AT_SIX, code=4)
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"the batch is not saved ({folder}/nonfinite: cannot be written (No space" in error
    assert "Traceback" not in error
    assert not (folder / "nonfinite").exists()
