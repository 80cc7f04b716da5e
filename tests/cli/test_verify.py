"""`hieraseg run RUN --verify`: a run that is repeated, and compared with its repetition."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from hieraseg.cli import main
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.verifying import compare_runs
from tests.support.earlier import unfinish
from tests.support.runs import read_json, read_metrics

Captured = pytest.CaptureFixture[str]


def change_json(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = read_json(file)
    change(content)
    content.pop("checksum", None)
    file.write_text(json.dumps(content))


def change_metrics(run: Path, line: int, key: str, value: Any) -> None:
    records = read_metrics(run)
    records[line][key] = value
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))


def test_a_repetition_is_the_same_bit_by_bit(
    oracle_run: Path, tmp_path: Path, capsys: Captured
) -> None:
    """It lies beside the run, which stays as it was; its recipe names the run as well."""
    run = Path(shutil.copytree(oracle_run, tmp_path / "runs/oracle/base-seed0"))
    assert main(["run", str(run / "recipe.yaml"), "--verify", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    beside = run.with_name("base-verify-seed0")
    assert (result["repetition"], result["identical"]) == (str(beside), True)
    assert not any(result[key] for key in ("changes", "metrics", "result", "counts", "weights"))
    assert read_metrics(beside)[0]["val"] == read_metrics(run)[0]["val"]
    change_metrics(run, 0, "loss", 7.0)
    change_json(run / "provenance.json", lambda record: record["packages"].update(torch="1.0"))
    assert main(["run", str(run), "--verify"]) == 5
    out = capsys.readouterr().out
    assert "first differences in metrics.jsonl (1):\n  metrics.jsonl: epoch 1, step " in out
    assert ": loss: 7.0 -> " in out
    assert "base-verify-run2-seed0 is different from" in out
    changed = f"packages: torch: 1.0 -> {version('torch')}"
    assert f"differences in inputs and environment (1):\n  {changed}\n" in out


def test_what_differs(trained_run: Path, tmp_path: Path) -> None:
    """In inputs and environment, in the first line of the records that differs, and at the end."""
    first, second = (Path(shutil.copytree(trained_run, tmp_path / name)) for name in "ab")
    same = compare_runs(RunFolder(first), RunFolder(second))
    assert not same.changes
    assert not same.differences
    change_metrics(second, 0, "images_per_second", 1e9)
    change_json(second / "result.json", lambda result: result["cost"].update(seconds=1e9))
    assert compare_runs(RunFolder(first), RunFolder(second)) == same, "times are no results"

    loss = read_metrics(first)[1]["loss"]
    change_metrics(second, 1, "loss", loss + 0.25)
    change_json(
        second / "result.json", lambda result: result["splits"]["val"].update(coherence=None)
    )
    file = second / "checkpoints/best/model.safetensors"
    weights = load_file(file)
    name = next(name for name, one in weights.items() if one.is_floating_point() and one.ndim > 1)
    weights[name].view(-1)[3] += 0.5
    save_file(weights, file)

    def change(record: dict[str, Any]) -> None:
        record["packages"]["torch"] = "1.0"
        record["data"]["val"], record["images"]["val"] = "0" * 64, 4
        record["recipe"] = record["recipe"].replace("epochs: 2\n", "epochs: 3\n")
        record["code"] |= {"sources": "x", "files": {**record["code"]["files"], "train.py": "x"}}

    change_json(second / "provenance.json", change)
    found = compare_runs(RunFolder(first), RunFolder(second))
    (metric,), (score,), (weight,) = found.metrics, found.result, found.weights
    assert (metric.place, metric.key) == ("metrics.jsonl: epoch 2, step 6", "loss")
    assert metric.by == pytest.approx(0.25)
    assert (score.key, score.after, score.by) == ("val.coherence", None, None)
    assert (weight.place, weight.key) == ("checkpoints/best", name)
    assert weight.by == pytest.approx(0.5)
    said = [str(one) for one in found.changes]
    assert said[0] == "training.epochs: 2 -> 3"
    assert said[1].startswith("the data of split 'val': 5 images, ")
    assert said[1].endswith(" -> 4 images, 000000")
    assert said[2].startswith("hieraseg itself (sources: train.py): ")
    assert said[3] == f"torch: {version('torch')} -> 1.0"


def test_counts_of_images_that_differ(trained_run: Path, tmp_path: Path) -> None:
    """Also where their sums, and so the scores, are the same."""
    copy = Path(shutil.copytree(trained_run, tmp_path / "copy"))
    file = copy / "evaluation/val.npz"
    arrays = dict(np.load(file))
    arrays["predicted_1"] = arrays["predicted_1"] + [[7], [-7], [0], [0], [0]]
    np.savez(file, **arrays)
    comparison = compare_runs(RunFolder(trained_run), RunFolder(copy))
    (found,) = comparison.counts
    assert (found.place, found.key, found.by) == ("evaluation/val.npz", "predicted_1", 7)
    assert comparison.differences == [found]
    del arrays["predicted_1"]
    np.savez(file, **arrays)
    (found,) = compare_runs(RunFolder(trained_run), RunFolder(copy)).counts
    assert str(found).endswith("predicted_1: of shape [5, 2] -> (none)")
    file.unlink()
    comparison = compare_runs(RunFolder(trained_run), RunFolder(copy))
    assert (comparison.counts, comparison.not_compared) == ([], ["evaluation/val.npz"])


def test_what_an_older_run_did_not_record_is_one_change(trained_run: Path, tmp_path: Path) -> None:
    """It recorded the main packages alone, whose versions are compared."""
    copy = Path(shutil.copytree(trained_run, tmp_path / "copy"))

    def change(record: dict[str, Any]) -> None:
        record["packages"] = {"python": record["packages"]["python"], "torch": "1.0"}
        del record["hardware"]

    change_json(copy / "provenance.json", change)
    newer = RunFolder(trained_run)
    number = len(read_json(newer.provenance)["packages"])
    said = [str(one) for one in compare_runs(RunFolder(copy), newer).changes]
    assert said[:2] == [
        f"what is recorded of packages: 2 entries -> {number} entries",
        f"torch: 1.0 -> {version('torch')}",
    ]
    assert said[2].startswith("what is recorded of hardware: (none) -> ")
    assert len(said) == 3
    assert compare_runs(newer, RunFolder(copy)).changes[0].after == "2 entries"


def test_a_record_that_is_missing_is_a_difference(trained_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained_run, tmp_path / "copy"))
    first = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)[0]
    (copy / "metrics.jsonl").write_text(first)
    (found,) = compare_runs(RunFolder(trained_run), RunFolder(copy)).metrics
    assert str(found) == "metrics.jsonl: lines: 2 -> 1 (by 1)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "1"], "--seeds: --verify repeats one run as it was; leave it out"),
        (["--jobs", "2"], "--jobs: --verify repeats one run"),
        (["--optimizer.lr", "1"], "--optimizer.lr: --verify repeats a run as it was"),
        (["--training.seed", "1"], "--training.seed: --verify repeats a run as it was"),
        ([], "is not finished; go on with `hieraseg resume"),
    ],
)
def test_what_cannot_be_verified(
    run_copy: Path, capsys: Captured, options: list[str], message: str
) -> None:
    unfinish(run_copy)
    before = sorted(run_copy.parent.rglob("*"))
    assert main(["run", str(run_copy), "--verify", *options]) == 2
    assert message in capsys.readouterr().err
    assert sorted(run_copy.parent.rglob("*")) == before


def test_weights_that_were_removed_are_said_not_to_be_compared(
    oracle_run: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = Path(shutil.copytree(oracle_run, tmp_path / "runs/oracle/base-seed0"))
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    assert main(["run", str(run), "--verify"]) == 0
    rest = "but for what is not in both: checkpoints/best, checkpoints/last"
    assert f"is the same, bit by bit, as {run}, {rest}\n" in capsys.readouterr().out


def test_a_damaged_record_is_said_before_the_run_is_repeated(
    oracle_run: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = Path(shutil.copytree(oracle_run, tmp_path / "runs/oracle/base-seed0"))
    (run / "metrics.jsonl").write_text("[]\n")
    assert main(["run", str(run), "--verify"]) == 2
    assert "metrics.jsonl: line 1: is damaged (no record); restore it" in capsys.readouterr().err
    assert list(run.parent.iterdir()) == [run]
