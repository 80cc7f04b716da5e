"""`hieraseg compare`: formats, protocols that differ, and runs that cannot be compared."""

import json
from pathlib import Path

import pytest

from hieraseg.cli import main
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("output_format", ["md", "csv", "latex", "json"])
def test_formats(trained_run: Path, output_format: str, capsys: Captured) -> None:
    """Each format has the name of the run and its score on the leaves."""
    score = read_json(trained_run / "result.json")["splits"]["val"]["levels"][2]["miou"]
    assert main(["compare", str(trained_run), f"--{output_format}"]) == 0
    output = capsys.readouterr().out
    assert "quickstart" in output
    assert (str(score) if output_format == "json" else f"{score:.3f}") in output


def test_interrupted_run(run_copy: Path, capsys: Captured) -> None:
    """A run that was interrupted and then evaluated has scores but no cost."""
    (run_copy / "result.json").unlink()
    assert main(["evaluate", str(run_copy), "--checkpoint", "last"]) == 0
    capsys.readouterr()
    assert main(["compare", str(run_copy), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["minutes"] == [None]
    assert len(row["mIoU L3"]) == 1


def test_different_protocols(trained_run: Path, run_copy: Path, capsys: Captured) -> None:
    """Scores of different protocols are in one table, with a warning of the difference."""
    assert main(["evaluate", str(run_copy), "--flip"]) == 0
    assert "5 images at native resolution, scales 1, flip\n" in capsys.readouterr().out
    assert main(["compare", str(trained_run), str(run_copy)]) == 0
    assert "with different tta (scales 1 | scales 1, flip); their" in capsys.readouterr().err
    result = read_json(run_copy / "result.json")
    result["splits"]["val"].update(resolution="input", data="other")
    (run_copy / "result.json").write_text(json.dumps(result))
    assert main(["compare", str(trained_run), str(run_copy), "--json"]) == 0
    output, warning = capsys.readouterr()
    assert not json.loads(output)["comparable"]
    assert "with different data, resolution (native | input), tta" in warning


def test_augmentation_of_older_runs_is_not_overlooked(
    trained_run: Path, run_copy: Path, capsys: Captured
) -> None:
    """They recorded it under another key."""
    assert main(["evaluate", str(run_copy), "--flip"]) == 0
    result = read_json(run_copy / "result.json")
    result["splits"]["val"]["views"] = result["splits"]["val"].pop("tta")
    (run_copy / "result.json").write_text(json.dumps(result))
    capsys.readouterr()
    assert main(["compare", str(trained_run), str(run_copy)]) == 0
    assert "with different tta (scales 1 | scales 1, flip); their" in capsys.readouterr().err


def test_missing_runs_and_splits(trained_run: Path, tmp_path: Path, capsys: Captured) -> None:
    """The message says which command makes what is missing."""
    assert main(["compare", str(tmp_path)]) == 2
    assert "no finished run" in capsys.readouterr().err
    assert main(["compare", str(trained_run), "--split", "test"]) == 2
    error = capsys.readouterr().err
    assert f"{trained_run}: no scores on split 'test'; run `hieraseg evaluate" in error
