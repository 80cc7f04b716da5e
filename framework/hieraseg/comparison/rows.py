"""A row of a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hieraseg.runs.finished import FinishedRun


@dataclass(frozen=True)
class Row:
    """Runs of one recipe that differ only in their seeds.

    Attributes:
        title: recipe and run name, as in `quickstart/base`; a run folder if other rows have the
            same.
        runs: the run of each seed.
    """

    title: str
    runs: tuple[FinishedRun, ...]

    @property
    def seeds(self) -> list[int]:
        """Seed of each run."""
        return [run.seed for run in self.runs]

    @property
    def scores(self) -> list[Mapping[str, Any]]:
        """Scores of each run on one split, as in `result.json`."""
        return [run.scores for run in self.runs]

    @property
    def costs(self) -> list[Mapping[str, Any]]:
        """Cost of each run, as in `result.json`."""
        return [run.cost for run in self.runs]
