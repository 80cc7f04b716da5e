"""Job: compare finished runs, grouped by recipe."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hieraseg.comparison.rows import Row
from hieraseg.console import warn
from hieraseg.errors import RecipeError, first_few
from hieraseg.runs.finished import FinishedRun, find_runs, read_finished
from hieraseg.runs.folder import RunFolder


def compare(
    entries: Sequence[str | Path], split: str = "val", runs: str | Path = "runs"
) -> list[Row]:
    """Collect runs into rows.

    Runs share a row if their resolved recipes, the copied files that these name, and their class
    trees differ only in the seed. A rerun of a seed is no new measurement, so the newest counts.
    Runs that are damaged or did not finish are left out, with a warning for each.

    Args:
        entries: run folders, folders of run folders, or recipes. A recipe stands for all of its
            finished runs.
        split: split to compare on, or key of another protocol, as in `val@flip`.
        runs: folder to search for the runs of a recipe.

    Raises:
        RecipeError: an entry has no run, or no run can be compared.
    """
    found = [folder for entry in entries for folder in _run_folders(Path(entry), Path(runs))]
    groups: dict[str, list[FinishedRun]] = {}
    problems = []
    for folder in {folder.path.resolve(): folder for folder in found}.values():
        try:
            run = read_finished(folder, split)
        except RecipeError as error:
            problems.append(str(error))
        else:
            groups.setdefault(run.identity, []).append(run)
    if not groups:
        raise RecipeError(first_few(problems, "runs cannot be compared"))
    for problem in problems:
        warn(f"left out: {problem}")
    titles = _titles(groups.values())
    return [_row(group, title) for group, title in zip(groups.values(), titles, strict=True)]


def differences(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Parts of the evaluation protocol that differ between runs.

    Returns:
        The distinct values of each differing part, as in
        `{"tta": ["scales 1", "scales 1, flip"]}`. Empty if all scores are comparable.
    """
    values: dict[str, dict[str, None]] = {}
    for scores in (scores for row in rows for scores in row.scores):
        for part, value in _protocol(scores).items():
            values.setdefault(part, {})[value] = None
    return {part: list(distinct) for part, distinct in values.items() if len(distinct) > 1}


def _protocol(scores: Mapping[str, Any]) -> dict[str, str]:
    """The protocol of scores, as far as it is known: older runs recorded less of it."""
    protocol = {
        "data": scores["data"],
        "classes": "; ".join(",".join(sorted(level["iou"])) for level in scores["levels"]),
        "resolution": scores["resolution"],
        # Older runs call it `views`, and the oldest had none.
        "tta": scores.get("tta") or scores.get("views", "scales 1"),
        "checkpoint": scores["checkpoint"],
    }
    if scores["resolution"] == "input":
        # Older runs stretched images to one size.
        protocol["resize"] = resize = scores.get("resize", "stretch")
        if resize != "none" and "size" in scores:
            protocol["size"] = "x".join(map(str, scores["size"]))
    if "tree" in scores:
        tree = scores["tree"]
        protocol |= {
            "tree": tree["parents"],
            "labels": tree["labels"],
            "void": " ".join(map(str, tree["void"])) or "none",
            "background": tree["background"] or "none",
        }
    return protocol


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


def _row(runs: Sequence[FinishedRun], title: str) -> Row:
    return Row(title, tuple(_newest(runs)))


def _titles(groups: Iterable[Sequence[FinishedRun]]) -> list[str]:
    """Recipe and run name of each group of runs, or a run folder if several have the same."""
    first = [min((run.path for run in runs), key=lambda path: len(path.name)) for runs in groups]
    places = [path.resolve() for path in first]  # it may be `.`
    titles = [f"{place.parent.name}/{place.name.rsplit('-seed', 1)[0]}" for place in places]
    counts = Counter(titles)
    return [
        title if counts[title] == 1 else str(path)
        for title, path in zip(titles, first, strict=True)
    ]


def _newest(runs: Sequence[FinishedRun]) -> Iterator[FinishedRun]:
    """The newest run of each seed."""
    by_seed: dict[int, list[FinishedRun]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, []).append(run)
    for seed, same in by_seed.items():
        newest = max(same, key=lambda run: run.started)
        times = len({run.started for run in same})
        if times > 1:
            warn(
                f"seed {seed} was run {times} times, of which {newest.path} is the newest, "
                "and the only one that is compared"
            )
        elif len(same) > 1:
            warn(f"seed {seed} has {len(same)} copies of one run; {newest.path} is compared")
        yield newest
