"""One CSV file."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hieraseg.types import check_arguments

_STEP = "step"


@check_arguments
class CSVFile:
    """The file `curves.csv` of the run: a row for each step, a column for each number.

    Args:
        folder: the run folder, supplied by the runner.
        after_step: step from which the run goes on, supplied by the runner.
    """

    def __init__(self, folder: Path, after_step: int = 0) -> None:
        self.path = folder / "curves.csv"
        self.columns = [_STEP]
        self.last_step: int | None = None
        kept = [row for row in self._read() if int(row[_STEP]) <= after_step]
        self._write(kept)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Nothing: the file has numbers that change, and `recipe.yaml` has the settings."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Add to the row of the step; a new number gets a column, which is empty above."""
        row = {_STEP: step, **metrics}
        if step != self.last_step and row.keys() <= set(self.columns):
            with self.path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)
            self.last_step = step
            return
        rows = self._read()
        if step == self.last_step:
            row = rows.pop() | row
        self.columns += [name for name in metrics if name not in self.columns]
        self._write([*rows, row])

    def finalize(self, status: str) -> None:
        """Nothing: each row is written at once."""

    def _read(self) -> list[dict[str, Any]]:
        """The rows and columns of the file, without a last row that was cut off."""
        if not self.path.is_file():
            return []
        text = self.path.read_text(encoding="utf-8")
        reader = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
        self.columns = list(reader.fieldnames or self.columns)
        return list(reader)

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all rows in place of the file."""
        unfinished = self.path.with_suffix(".csv.tmp")
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(unfinished, self.path)
        self.last_step = int(rows[-1][_STEP]) if rows else None
