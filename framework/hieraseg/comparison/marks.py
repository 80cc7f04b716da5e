"""Marks of rows whose scores are not what they seem, and the notes that explain them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hieraseg.comparison.differences import SEEDS
from hieraseg.comparison.protocol import in_words, protocol_differences, protocol_of
from hieraseg.comparison.rows import Row
from hieraseg.comparison.settings import CODE, DATA
from hieraseg.runs.finished import FinishedRun

CHOSEN, PROTOCOL, STEPS, OTHER_SEEDS = "†", "‡", "*", "§"
_METHOD = (
    "differences: intervals over images and seeds (paired bootstrap), each for itself; p-values of "
    "a sign-flip permutation, corrected over rows and levels (Holm), or over the classes of "
    "a row; could show: the difference that four of five such comparisons would find if it were "
    "the only one"
)

_SHOWN = 5
"""Number of classes that a note names."""

Marked = tuple[list[Row], str]
"""The rows that get a mark, and the note that explains it."""


def with_marks(
    rows: Sequence[Row], key: str, baseline: Row | None = None
) -> tuple[list[Row], list[str]]:
    """The rows with their marks, and the notes.

    Args:
        rows: the rows.
        key: split and protocol, as in `val@flip`.
        baseline: the row that others are compared to.
    """
    found: dict[str, Marked] = {CHOSEN: _chosen(rows, key), PROTOCOL: _protocol(rows, baseline)}
    if baseline:
        found |= {STEPS: _steps(rows, baseline), OTHER_SEEDS: _seeds(rows, baseline)}
    marked = [
        replace(
            row, marks=tuple(mark for mark, (concerned, _) in found.items() if row in concerned)
        )
        for row in rows
    ]
    notes = [f"{mark} {note}" for mark, (concerned, note) in found.items() if concerned]
    notes += [*_trained_on(rows), *_few_seeds(rows, baseline)]
    notes += [*_only_predicted(rows), *_other_code(rows)]
    return marked, [*notes, _METHOD] if baseline else notes


def _chosen(rows: Sequence[Row], key: str) -> Marked:
    """Rows whose best epoch was chosen by the scores on this split."""
    split = key.partition("@")[0]

    def is_chosen(row: Row) -> bool:
        run = row.runs[0]
        is_val = split == "val" or run.provenance.get("data", {}).get("val") == run.scores["data"]
        moments = run.cost.get("validations", run.cost.get("epochs"))  # older runs have no former
        return is_val and run.scores["checkpoint"] == "best" and moments != 1

    chosen = [row for row in rows if is_chosen(row)]
    return chosen, (
        f"best epoch chosen on this split{_by(chosen)}, so these scores are optimistic; for a "
        "final table, score a split that nothing was chosen on, such as --split holdout"
    )


def _by(rows: Sequence[Row]) -> str:
    """By which score, if that is not the mIoU of the finest level for all of them."""
    usual = {row.title: f"miou@{len(row.scores[0]['levels'])}" for row in rows}
    names = {row.title: row.runs[0].cost.get("monitor", usual[row.title]) for row in rows}
    if names == usual:
        return ""
    several = len(set(names.values())) > 1
    return f" by {_of(names) if several else names[rows[0].title]}"


def _protocol(rows: Sequence[Row], baseline: Row | None) -> Marked:
    """Rows scored by another protocol, or on other data, than the baseline or most rows."""
    different = protocol_differences(rows)
    protocols = [{part: protocol_of(row.scores[0]).get(part) for part in different} for row in rows]
    counts = Counter(map(str, protocols))
    titles = [row.title for row in rows]
    usual = max(protocols, key=lambda one: counts[str(one)])  # the first of those
    reference = titles.index(baseline.title) if baseline else protocols.index(usual)
    usual = protocols[reference]
    other = [
        row
        for row, protocol in zip(rows, protocols, strict=True)
        if any(protocol[part] not in (None, value) for part, value in usual.items() if value)
    ]
    return other, (
        f"scored by another protocol or on other data than {titles[reference]}, so not compared "
        f"with it: {in_words(different)}"
    )


def _steps(rows: Sequence[Row], baseline: Row) -> Marked:
    """Rows trained for another number of steps than the baseline."""

    def steps(row: Row) -> list[int]:
        return sorted({run.cost["steps"] for run in row.runs if "steps" in run.cost})

    other = [row for row in rows if steps(row) != steps(baseline)]
    of_row = {row.title: _listed(steps(row)) for row in other}
    return other, (
        f"trained for another number of steps than the baseline ({_listed(steps(baseline))}): "
        f"{_of(of_row)}"
    )


def _seeds(rows: Sequence[Row], baseline: Row) -> Marked:
    """Rows with other seeds than the baseline."""
    other = [row for row in rows if sorted(row.seeds) != sorted(baseline.seeds)]
    seeds = {row.title: _listed(sorted(row.seeds)) for row in other}
    return other, f"other seeds than the baseline ({_listed(sorted(baseline.seeds))}): {_of(seeds)}"


def _trained_on(rows: Sequence[Row]) -> list[str]:
    """Which rows were trained on the images that they are scored on."""

    def is_trained(run: FinishedRun) -> bool:
        return run.provenance.get("data", {}).get("train") == run.scores["data"]

    trained = [row.title for row in rows if any(map(is_trained, row.runs))]
    which = "all rows" if len(trained) == len(rows) else ", ".join(trained)
    return [f"trained on these images, so not scores of new ones: {which}"] if trained else []


def _few_seeds(rows: Sequence[Row], baseline: Row | None) -> list[str]:
    """Which rows say nothing of the spread between seeds, and which too little for a verdict."""
    single = [row.title for row in rows if len(row.runs) == 1]
    few = [row.title for row in rows if len(row.runs) < SEEDS]
    notes = []
    if single:
        which = "all rows" if len(single) == len(rows) else ", ".join(single)
        so = ", so intervals and p-values are of images alone" if baseline else ""
        notes.append(f"n = 1: {which}; one seed says nothing of the spread between seeds{so}")
    if baseline and few:
        which = "any row" if baseline.title in few else ", ".join(few)
        notes.append(
            f"no verdict for {which}: it takes {SEEDS} seeds of the row and of the baseline"
        )
    return notes


def _only_predicted(rows: Sequence[Row]) -> list[str]:
    """Which rows predict classes that no target has: a few pixels of one cost a share of mIoU."""
    found = {row.title: [_classes_only_predicted(scores) for scores in row.scores] for row in rows}
    names = list(dict.fromkeys(name for runs in found.values() for run in runs for name in run))
    if not names:
        return []
    counts = {
        title: f"{sum(map(bool, runs))} of {len(runs)} runs"
        for title, runs in found.items()
        if any(runs)
    }
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [
        "in no target of this split, so they count 0 in the mIoU of a run that predicts a pixel "
        f"of them: {', '.join(names[:_SHOWN])}{more}; predicted by {_of(counts)}"
    ]


def _classes_only_predicted(scores: Mapping[str, Any]) -> list[str]:
    background = scores.get("tree", {}).get("background")
    return [
        f"{name} (L{level['level']})"
        for level in scores["levels"]
        for name, accuracy in level.get("accuracy", {}).items()
        if accuracy is None and level["iou"].get(name) == 0 and name != background
    ]


def _other_code(rows: Sequence[Row]) -> list[str]:
    """That rows differ in code or data, where they do."""
    notes = {
        CODE: "rows with another code ran other source code, so they are not averaged",
        DATA: f"rows with another {DATA} read other images, masks or weights",
    }
    return [note for key, note in notes.items() if len({row.settings.get(key) for row in rows}) > 1]


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or "unknown"


def _of(values: Mapping[str, str]) -> str:
    return "; ".join(f"{title} ({value})" for title, value in values.items())
