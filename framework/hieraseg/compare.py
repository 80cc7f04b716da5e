"""Job: compare finished runs, grouped by recipe."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.counts import has_counts, image_ids
from hieraseg.comparison.differences import differences_to, limits
from hieraseg.comparison.marks import PROTOCOL, with_marks
from hieraseg.comparison.protocol import protocol_of
from hieraseg.comparison.rows import Row, find_row
from hieraseg.comparison.settings import with_settings
from hieraseg.console import warn
from hieraseg.errors import RecipeError, first_few
from hieraseg.runs.finished import FinishedRun, find_runs, read_finished
from hieraseg.runs.folder import RunFolder

_SHOWN = 5
"""Number of runs left out that are named."""


def compare(
    entries: Sequence[str | Path],
    split: str = "val",
    runs: str | Path = "runs",
    baseline: str | None = None,
    per_class: bool = False,
) -> Comparison:
    """Collect runs into rows, and compare these.

    Runs share a row if their resolved recipes, the files that these name, their code, their data
    and the protocol of their scores differ only in the seed. A rerun of a seed is no new
    measurement, so the newest counts. Runs that are damaged, that did not finish, or whose scores
    are not those of their counts are left out, with a warning for each.

    Args:
        entries: run folders, folders of run folders, or recipes. A recipe stands for all of its
            finished runs.
        split: split to compare on, or key of another protocol, as in `val@flip`.
        runs: folder to search for the runs of a recipe.
        baseline: name of the row that the others are compared to (see `find_row`), if any.
        per_class: whether to compare each class to the baseline, too.

    Raises:
        RecipeError: an entry has no run, no run can be compared, it is not known which of several
            runs is the newest, or there is no such baseline.
    """
    finished, unchecked, left_out = _read(entries, split, Path(runs))
    rows = with_settings(_rows(finished))
    chosen = None if baseline is None else find_row(rows, baseline)
    rows, notes = with_marks(rows, split, chosen)
    notes = [*_left_out(left_out), *_unchecked(unchecked), *notes]
    if chosen is None:
        return Comparison(split, rows, notes=notes)
    chosen = find_row(rows, chosen.title)  # with its marks
    found = differences_to([row for row in rows if PROTOCOL not in row.marks], chosen, per_class)
    return Comparison(
        split,
        rows,
        chosen,
        {title: [one for one in of if one.class_name is None] for title, of in found.items()},
        {title: [one for one in of if one.class_name is not None] for title, of in found.items()},
        [*limits(found, len(image_ids(chosen))), *notes],
    )


def _read(
    entries: Sequence[str | Path], split: str, runs: Path
) -> tuple[list[FinishedRun], list[RunFolder], list[RunFolder]]:
    """The finished runs of all entries, each one once, and the others, with a warning for each.

    Between them are those of the finished ones whose scores cannot be checked by their counts.
    """
    folders = [folder for entry in entries for folder in _run_folders(Path(entry), runs)]
    found, unchecked, left_out, problems = [], [], [], []
    for folder in {folder.path.resolve(): folder for folder in folders}.values():
        try:
            run = read_finished(folder, split)
            if not has_counts(run):
                unchecked.append(folder)
            found.append(run)
        except RecipeError as error:
            left_out.append(folder)
            problems.append(str(error))
    if not found:
        raise RecipeError(first_few(problems, "runs cannot be compared"))
    for problem in problems[:_SHOWN]:
        warn(f"left out: {problem}")
    if len(problems) > _SHOWN:
        warn(f"left out: {len(problems) - _SHOWN} more runs, for such reasons")
    return found, unchecked, left_out


def _left_out(folders: Sequence[RunFolder]) -> list[str]:
    """That runs are missing: a table of those that survived is better than the recipes are."""
    why = "runs left out, since they did not finish, are damaged or have no such scores"
    return [f"{why}: {_names(folders)}"] if folders else []


def _unchecked(folders: Sequence[RunFolder]) -> list[str]:
    """That the scores of runs might have been changed."""
    why = "scores that could not be checked, since the counts of images are missing or damaged"
    return [f"{why}: {_names(folders)}"] if folders else []


def _names(folders: Sequence[RunFolder]) -> str:
    """How many run folders there are, and names of some."""
    names = [folder.path.name for folder in folders]
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"


def _rows(runs: Iterable[FinishedRun]) -> list[Row]:
    """The rows of some runs, in the order of their first ones."""
    groups: dict[tuple[str, ...], list[FinishedRun]] = {}
    for run in runs:
        # The order of classes, and so that of their counts, is not in the protocol.
        classes = [str(list(level["iou"])) for level in run.scores["levels"]]
        key = (run.identity, *classes, str(protocol_of(run.scores)))
        groups.setdefault(key, []).append(run)
    newest = [tuple(_newest(group)) for group in groups.values()]
    return [Row(title, runs) for title, runs in zip(_titles(newest), newest, strict=True)]


def _run_folders(entry: Path, runs: Path) -> list[RunFolder]:
    """The runs that a run folder, a folder of run folders, or a recipe stands for."""
    root = entry if entry.is_dir() else runs / entry.stem
    found = find_runs(root)
    if not found:
        problem = "no finished run in it" if entry.is_dir() else f"no finished run in {root}"
        if not entry.exists():
            problem = f"no such folder or recipe, and {problem}"
        raise RecipeError(f"{entry}: {problem}; run `hieraseg run` first")
    return found


def _titles(groups: Iterable[Sequence[FinishedRun]]) -> list[str]:
    """Recipe and run name of each group of runs, with more of the path if several have the same."""
    first = [min((run.path for run in runs), key=lambda path: len(path.name)) for runs in groups]
    places = [path.resolve() for path in first]  # it may be `.`
    short = [f"{place.parent.name}/{_without_seed(place.name)}" for place in places]
    long = [str(path.parent / _without_seed(path.name)) for path in first]
    return _distinct(short, _distinct(long, [str(path) for path in first]))


def _without_seed(name: str) -> str:
    return name.rsplit("-seed", 1)[0]


def _distinct(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """The names, or others where several are the same."""
    counts = Counter(names)
    return [name if counts[name] == 1 else other for name, other in zip(names, others, strict=True)]


def _newest(runs: Sequence[FinishedRun]) -> Iterator[FinishedRun]:
    """The newest run of each seed."""
    by_seed: dict[int, list[FinishedRun]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, []).append(run)
    for seed, same in sorted(by_seed.items()):
        newest = max(same, key=lambda run: run.started)
        times = len({run.started for run in same})
        if not all(run.started for run in same) and any(r.scores != newest.scores for r in same):
            raise RecipeError(
                f"{', '.join(str(run.path) for run in same)}: are runs of the same recipe and seed "
                f"{seed} with other scores; the newest would count, but not all of them say when "
                "they started; name only one of them"
            )
        if times > 1:
            warn(
                f"seed {seed} was run {times} times, of which {newest.path} is the newest, "
                "and the only one that is compared"
            )
        elif len(same) > 1:
            warn(f"seed {seed} has {len(same)} copies of one run; {newest.path} is compared")
        yield newest
