"""Job: compare finished runs, grouped by recipe."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hieraseg.errors import RecipeError
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.plugins import copied_plugins
from hieraseg.strict_yaml import InvalidYAMLError, read_plain


@dataclass(frozen=True)
class Row:
    """Runs of one recipe that differ only in their seeds.

    Attributes:
        title: recipe and run name, as in `quickstart/base`.
        seeds: seed of each run.
        scores: scores of each run on one split, as in `result.json`.
        costs: cost of each run, as in `result.json`.
    """

    title: str
    seeds: list[int]
    scores: list[dict[str, Any]]
    costs: list[dict[str, Any]]

    def protocols(self) -> list[dict[str, str]]:
        """The evaluation protocol of each run. Scores are comparable if it is the same."""
        return [
            {
                "data": scores["data"],
                "classes": "; ".join(",".join(level["iou"]) for level in scores["levels"]),
                "resolution": scores["resolution"],
                # Older runs call it `views`, and the oldest had none.
                "tta": scores.get("tta") or scores.get("views", "scales 1"),
                "checkpoint": scores["checkpoint"],
            }
            for scores in self.scores
        ]


def compare(
    entries: Sequence[str | Path], split: str = "val", runs: str | Path = "runs"
) -> list[Row]:
    """Collect runs into rows.

    Runs share a row if their resolved recipes, and the plugin files that these use, differ only
    in the seed.

    Args:
        entries: run folders, folders of run folders, or recipes. A recipe stands for all of its
            finished runs.
        split: split to compare on.
        runs: folder to search for the runs of a recipe.

    Raises:
        RecipeError: an entry has no finished run, or a run has no scores on the split.
    """
    found = [folder for entry in entries for folder in _finished_runs(Path(entry), Path(runs))]
    groups: dict[str, list[RunFolder]] = {}
    for folder in dict.fromkeys(found):
        groups.setdefault(_identity(folder), []).append(folder)
    return [_row(folders, split) for folders in groups.values()]


def differences(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Parts of the evaluation protocol that differ between runs.

    Returns:
        The distinct values of each differing part, as in
        `{"tta": ["scales 1", "scales 1, flip"]}`. Empty if all scores are comparable.
    """
    protocols = [protocol for row in rows for protocol in row.protocols()]
    values = {key: list(dict.fromkeys(p[key] for p in protocols)) for key in protocols[0]}
    return {key: distinct for key, distinct in values.items() if len(distinct) > 1}


def _finished_runs(entry: Path, runs: Path) -> list[RunFolder]:
    """The runs that a run folder, a folder of run folders, or a recipe stands for."""
    if (entry / "recipe.yaml").is_file():
        return [RunFolder.open(entry)]
    root = entry if entry.is_dir() else runs / entry.stem
    finished = sorted(result.parent for result in root.glob("**/result.json"))
    if not finished:
        problem = "no finished run in it" if entry.is_dir() else f"no finished run in {root}"
        if not entry.exists():
            problem = f"no such folder or recipe, and {problem}"
        raise RecipeError(f"{entry}: {problem}; run `hieraseg run` first")
    return [RunFolder(folder) for folder in finished]


def _read_recipe(folder: RunFolder) -> dict[str, Any]:
    try:
        return read_plain(folder.recipe)
    except InvalidYAMLError as error:
        raise RecipeError(f"{folder.recipe}:{error.line}: {error}") from error


def _identity(folder: RunFolder) -> str:
    """A string that runs have in common if they differ only in their seeds."""
    recipe = _read_recipe(folder)
    del recipe["training"]["seed"]
    plugins = [plugin["sha256"] for plugin in copied_plugins(folder)]
    return json.dumps([folder.path.parent.name, recipe, plugins], sort_keys=True)


def _row(folders: Sequence[RunFolder], split: str) -> Row:
    results = [folder.read_result() for folder in folders]
    for folder, result in zip(folders, results, strict=True):
        if split not in result["splits"]:
            raise RecipeError(
                f"{folder.path}: no scores on split {split!r}; "
                f"run `hieraseg evaluate {folder.path} --split {split}` first"
            )
    path = folders[0].path
    return Row(
        title=f"{path.parent.name}/{path.name.rsplit('-seed', 1)[0]}",
        seeds=[_read_recipe(folder)["training"]["seed"] for folder in folders],
        scores=[result["splits"][split] for result in results],
        costs=[result["cost"] for result in results],
    )
