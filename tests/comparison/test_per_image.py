"""Scores of each image as CSV."""

import csv
from pathlib import Path

import numpy as np
import pytest

from hieraseg.comparison.per_image import write_per_image
from hieraseg.errors import WriteError
from tests.support.counted_runs import row_of, write_row, write_run


def test_scores_of_images(tmp_path: Path) -> None:
    """Their mean is `miou_per_image` where all images have all classes."""
    rows = [write_row(tmp_path, title, (0, 3), accuracy=0.5) for title in ("a,b", "c")]
    write_per_image(tmp_path / "scores.csv", rows)
    with (tmp_path / "scores.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 2 * 2 * 20
    assert list(lines[0]) == ["level", "image", "row", "seed", "miou"]
    for row in rows:
        for run in row.runs:
            found = [
                float(line["miou"])
                for line in lines
                if (line["level"], line["row"], line["seed"]) == ("2", row.title, str(run.seed))
            ]
            assert np.mean(found) == pytest.approx(run.scores["levels"][1]["miou_per_image"])


def test_images_without_a_score_are_empty(tmp_path: Path) -> None:
    row = row_of("r", write_run(tmp_path / "r", accuracy=1))
    split = tmp_path / "r/evaluation/val.npz"
    arrays = dict(np.load(split))
    for name in ("intersection", "predicted", "truth"):
        arrays[f"{name}_2"][0] = 0
    np.savez(split, **arrays)
    write_per_image(tmp_path / "scores.csv", [row])
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert [line for line in lines if line.startswith("2,i0")][:2] == ["2,i00,r,0,", "2,i01,r,0,1"]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    row = row_of("r", write_run(tmp_path / "r"))
    with pytest.raises(WriteError, match=r"scores\.csv: cannot be written"):
        write_per_image(tmp_path / "none/scores.csv", [row])
