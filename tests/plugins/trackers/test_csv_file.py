"""The curves of a run as a CSV file."""

import csv
from pathlib import Path
from typing import Any

from hieraseg import registry

CSVFile = registry.trackers.get("csv")


def rows(folder: Path) -> list[dict[str, Any]]:
    with (folder / "curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_step_and_a_column_per_number(tmp_path: Path) -> None:
    tracker = CSVFile(tmp_path)
    tracker.log_metrics({"loss/total": 1.5}, 10)
    tracker.log_metrics({"loss/total": 0.5, "iou_level_3/a, b": 0.25}, 20)
    tracker.log_metrics({"best/miou_level_1": 0.125}, 20)
    tracker.finalize("success")
    assert rows(tmp_path) == [
        {"step": "10", "loss/total": "1.5", "iou_level_3/a, b": "", "best/miou_level_1": ""},
        {
            "step": "20",
            "loss/total": "0.5",
            "iou_level_3/a, b": "0.25",
            "best/miou_level_1": "0.125",
        },
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["curves.csv"]


def test_a_run_that_goes_on_replaces_later_rows(tmp_path: Path) -> None:
    tracker = CSVFile(tmp_path)
    for step in (10, 20, 30):
        tracker.log_metrics({"loss/total": float(step)}, step)
    with (tmp_path / "curves.csv").open("a") as file:
        file.write("4")  # the beginning of a row, when the process was killed
    tracker = CSVFile(tmp_path, after_step=20)
    assert [row["step"] for row in rows(tmp_path)] == ["10", "20"]
    tracker.log_metrics({"loss/total": 3.0}, 30)
    assert [row["loss/total"] for row in rows(tmp_path)] == ["10.0", "20.0", "3.0"]
