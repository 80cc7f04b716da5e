"""The section `sweep` of a recipe: the rows, settings and seeds of a study."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hieraseg.errors import did_you_mean
from hieraseg.files.strict_yaml import inline
from hieraseg.recipe.reading import Entry, Layer, Override, Place, Problem

_ROW_NAME = re.compile(r"\w[\w.+-]{,59}")


@dataclass(frozen=True)
class Sweep:
    """The runs of a study.

    Attributes:
        seeds: the seed of each run of a row; that of the recipe if empty.
        seeds_place: where the seeds are written.
        grid: values of each swept key, all of which are combined.
        rows: sections of each row by its name, to be merged above the recipe.
    """

    seeds: Sequence[int] = ()
    seeds_place: Place | None = None
    grid: Mapping[str, Sequence[Override]] = field(default_factory=dict)
    rows: Mapping[str, Layer] = field(default_factory=dict)


def read_sweep(section: Entry) -> tuple[Sweep, list[Problem]]:
    """Read the section `sweep`.

    Returns:
        The sweep, and its problems. Sections of rows are not checked.
    """
    reader = _SweepReader()
    if not isinstance(section.value, dict):
        reader.note(section.place, "sweep", "expected a mapping with seeds, grid or rows")
        return Sweep(), reader.problems
    readers: dict[str, Callable[[Entry], Any]] = {
        "seeds": reader.seeds,
        "grid": reader.grid,
        "rows": reader.rows,
    }
    read: dict[str, Any] = {}
    for key, entry in section.value.items():
        if key in readers:
            read[key] = readers[key](entry)
        else:
            hint = did_you_mean(key, readers)
            reader.note(entry.place, f"sweep.{key}", f"sweep has no such key, {hint}")
    if "seeds" in read:
        read["seeds_place"] = section.value["seeds"].place
    return Sweep(**read), reader.problems


class _SweepReader:
    """Reads the keys of the section, and collects their problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def note(self, place: Place, key: str, text: str) -> None:
        self.problems.append(Problem(place, key, text))

    def seeds(self, entry: Entry) -> list[int]:
        seeds = entry.value
        is_list = isinstance(seeds, list) and seeds
        if not is_list or any(isinstance(one, bool) or not isinstance(one, int) for one in seeds):
            self.note(entry.place, "sweep.seeds", "expected a list of integers, as in [0, 1, 2]")
            return []
        repeated = [seed for index, seed in enumerate(seeds) if seed in seeds[:index]]
        if repeated:
            text = f"duplicate {repeated[0]}, whose run would be the same; give each seed once"
            self.note(entry.place, "sweep.seeds", text)
        return list(dict.fromkeys(seeds))

    def grid(self, entry: Entry) -> dict[str, list[Override]]:
        if not isinstance(entry.value, dict):
            text = "expected a mapping of keys to values, as in {loss.gamma: [0, 2]}"
            self.note(entry.place, "sweep.grid", text)
            return {}
        grid = {}
        for key, values in entry.value.items():
            dotted = f"sweep.grid.{key}"
            place = entry.inside.get(dotted, entry.place)
            problem = swept_key_problem(str(key))
            if not isinstance(values, list) or not values:
                problem = problem or f"expected a list of values, as in {key}: [a, b]"
            if problem:
                self.note(place, dotted, problem)
                continue
            grid[str(key)] = [
                Override(str(key), inline(value), entry.inside.get(f"{dotted}[{index}]", place))
                for index, value in enumerate(values)
            ]
            self._distinct(place, dotted, grid[str(key)])
        return grid

    def _distinct(self, place: Place, dotted: str, values: Sequence[Override]) -> None:
        texts = [value.text for value in values]
        repeated = [text for index, text in enumerate(texts) if text in texts[:index]]
        if repeated:
            self.note(place, dotted, f"duplicate {repeated[0]}; give each value once")

    def rows(self, entry: Entry) -> dict[str, Layer]:
        if not isinstance(entry.value, dict) or not entry.value:
            text = "expected a mapping of row names to sections, as in {mine: {loss: my_loss}}"
            self.note(entry.place, "sweep.rows", text)
            return {}
        return {str(name): self._row(name, entry) for name in entry.value}

    def _row(self, name: Any, rows: Entry) -> Layer:
        """The sections of a row, as `reading` gives those of a recipe file."""
        dotted, sections = f"sweep.rows.{name}", rows.value[name]
        place = rows.inside.get(dotted, rows.place)
        if not isinstance(name, str) or not _ROW_NAME.fullmatch(name):
            text = "a row is called by letters, digits and any of _ . + -, at most 60 of them"
            self.note(place, dotted, text)
        if not isinstance(sections, dict | None):
            text = "expected a mapping of sections, as in {loss: {name: tree_min, gamma: 0}}"
            self.note(place, dotted, text)
            return {}
        inside = _below(f"{dotted}.", rows.inside)
        layer: Layer = {}
        for section, value in (sections or {}).items():
            where = inside.get(str(section), place)
            problem = row_section_problem(str(section))
            if problem:
                self.note(where, f"{dotted}.{section}", problem)
            else:
                layer[str(section)] = _section(str(section), value, where, inside)
        return layer


def swept_key_problem(key: str) -> str:
    """Why a key cannot be swept; empty if it can, as far as this is known without the recipe."""
    section = key.partition(".")[0]
    if section in ("base", "plugins", "sweep"):
        return f"{section} cannot be swept; sweep a section or a key of one"
    return "cannot be swept like other keys; use seeds" if key == "training.seed" else ""


def row_section_problem(section: str) -> str:
    """Why a row cannot have a section; empty if it can."""
    if section in ("base", "plugins", "sweep"):
        return "cannot stand in a row; move it to the recipe itself"
    return ""


def row_problem(name: str, rows: Mapping[str, Layer]) -> str:
    """Why a row cannot be chosen; empty if it can."""
    if name in rows:
        return ""
    return f"no such row {name!r}, {did_you_mean(name, rows)}"


def _section(section: str, value: Any, place: Place, inside: Mapping[str, Place]) -> Entry:
    """A section of plain values as one of entries."""
    if not isinstance(value, dict):
        return Entry(value, place, inside)
    entries = {
        str(key): Entry(one, inside.get(f"{section}.{key}", place), inside)
        for key, one in value.items()
    }
    return Entry(entries, place)


def _below(prefix: str, places: Mapping[str, Place]) -> dict[str, Place]:
    return {
        key.removeprefix(prefix): place for key, place in places.items() if key.startswith(prefix)
    }
