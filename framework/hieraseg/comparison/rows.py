"""A row of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.runs.finished import FinishedRun


@dataclass(frozen=True)
class Row:
    """Runs of one recipe that differ only in their seeds.

    Attributes:
        title: recipe and run name, as in `quickstart/base`; with more of the path if other rows
            have the same.
        runs: the run of each seed.
        settings: values by dotted key, of those settings alone that differ between the rows.
        marks: symbols such as `†`, which the notes of the comparison explain.
    """

    title: str
    runs: tuple[FinishedRun, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[str, ...] = ()

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


def find_row(rows: Sequence[Row], name: str, option: str = "--baseline") -> Row:
    """The row of a name.

    Args:
        rows: the rows.
        name: title of a row, the part after its last slash, a part of one title alone, or one of
            its run folders.
        option: where the name comes from, for the error message.

    Raises:
        RecipeError: no row has this name, or several have it.
    """
    lower = name.lower()
    for found in (
        [row for row in rows if row.title == name],
        [row for row in rows if row.title.rpartition("/")[2].lower() == lower],
        [row for row in rows if lower in row.title.lower()],
        [row for row in rows if any(str(run.path) == name.rstrip("/") for run in row.runs)],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            titles = ", ".join(repr(row.title) for row in found)
            raise RecipeError(f"{option}: {name!r} could be {titles}; write more of the title")
    # Of titles such as `study/tree_min`, the last part is what is misspelt.
    known = [row.title for row in rows]
    last = {title.rpartition("/")[2]: title for title in known}
    hint = did_you_mean(name, known if "/" in name else list(last))
    raise RecipeError(f"{option}: no row {name!r}; {hint}")
