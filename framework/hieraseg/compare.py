"""The fourth job: finished runs side by side, in one table."""

import csv
import io
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hieraseg.errors import RecipeError
from hieraseg.runs.folder import RunFolder

_OF_LEVELS = {
    "mIoU": "miou",
    "mIoU with background": "miou_with_background",
    "mIoU per image": "miou_per_image",
    "accuracy": "mean_accuracy",
    "pixel accuracy": "pixel_accuracy",
    "Dice": "mean_dice",
    "frequency-weighted IoU": "frequency_weighted_iou",
    "boundary IoU": "mean_boundary_iou",
    "ECE": "ece",
    "class-wise ECE": "classwise_ece",
    "sibling mistakes": "sibling_mistakes",
}
_OF_TREE = {
    "coherence": "coherence",
    "mistake distance": "mistake_distance",
    "hierarchical precision": "hierarchical_precision",
    "hierarchical recall": "hierarchical_recall",
    "hierarchical F1": "hierarchical_f1",
}
_MAIN = ("mIoU", "coherence", "mistake distance")
"""What a table shows that people read; programs get all scores."""


@dataclass(frozen=True)
class Row:
    """A recipe's runs, which differ in their seeds alone.

    Attributes:
        title: of the recipe and the run, with what tells them apart.
        seeds: of its runs.
        scores: of each run, as in `result.json`.
        costs: of each run, likewise.
    """

    title: str
    seeds: list[int]
    scores: list[dict[str, Any]]
    costs: list[dict[str, Any]]

    def values(self, everything: bool = False) -> dict[str, list[float | None]]:
        """Each column's values, one per run; None for what nothing defines.

        Args:
            everything: all scores, not the main ones only.
        """
        columns: dict[str, list[float | None]] = {
            f"{title} L{level['level']}": [s["levels"][index].get(key) for s in self.scores]
            for title, key in _OF_LEVELS.items()
            if everything or title in _MAIN
            for index, level in enumerate(self.scores[0]["levels"])
        }
        for title, key in _OF_TREE.items():
            if everything or title in _MAIN:
                columns[title] = [s.get(key) for s in self.scores]
        columns["parameters (M)"] = [_scaled(c.get("parameters"), 1e6) for c in self.costs]
        columns["minutes"] = [_scaled(c.get("seconds"), 60) for c in self.costs]
        return columns

    def protocols(self) -> list[dict[str, str]]:
        """What scores must share to be comparable, of each run."""
        return [
            {
                "data": s["data"],
                "classes": "; ".join(",".join(level["iou"]) for level in s["levels"]),
                "resolution": s["resolution"],
                "tta": s.get("tta", "scales 1"),
                "checkpoint": s["checkpoint"],
            }
            for s in self.scores
        ]


def compare(
    given: Sequence[str | Path], split: str = "val", runs: str | Path = "runs"
) -> list[Row]:
    """Rows of runs, grouped by recipe: runs whose resolved recipes, and the plugin files
    that these name, differ in the seed alone.

    Args:
        given: run folders, folders of run folders, or recipe files, whose finished runs are all
            taken.
        split: whose scores.
        runs: folder of all runs, where a recipe file's are looked for.

    Raises:
        RecipeError: nothing finished there, or a run that was not scored on the split.
    """
    folders = list(dict.fromkeys(f for path in given for f in _run_folders(Path(path), Path(runs))))
    groups: dict[str, list[RunFolder]] = {}
    for folder in folders:
        recipe = yaml.safe_load(folder.recipe.read_text(encoding="utf-8"))
        recipe["training"].pop("seed")
        code = [kept["sha256"] for kept in folder.kept_plugins()]
        key = json.dumps([folder.path.parent.name, recipe, code], sort_keys=True)
        groups.setdefault(key, []).append(folder)
    return [_row(group, split) for group in groups.values()]


def differences(rows: Iterable[Row]) -> dict[str, list[str]]:
    """In what the protocols of rows differ, such as `views`, and how; comparable ones in nothing.

    Values are in the order of the rows.
    """
    protocols = [protocol for row in rows for protocol in row.protocols()]
    values = {key: list(dict.fromkeys(p[key] for p in protocols)) for key in protocols[0]}
    return {key: found for key, found in values.items() if len(found) > 1}


def as_table(rows: Sequence[Row], everything: bool = False) -> list[list[str]]:
    """A header and a line per row: the mean over seeds, and the standard deviation if several."""
    columns = list(dict.fromkeys(column for row in rows for column in row.values(everything)))
    lines = [["recipe", "seeds", *columns]]
    for row in rows:
        values = row.values(everything)
        seeds = ",".join(map(str, row.seeds))
        lines.append([row.title, seeds, *(_cell(values.get(column, [])) for column in columns)])
    return lines


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """The rows with every run's value of every score."""
    return {
        "comparable": not differences(rows),
        "rows": [
            {"recipe": row.title, "seeds": row.seeds, **row.values(everything=True)} for row in rows
        ],
    }


def as_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    header, *lines = as_table(rows)
    ruler = ["---", "---", *["---:"] * (len(header) - 2)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ruler, *lines))


def as_csv(rows: Sequence[Row]) -> str:
    """Comma-separated values, with every score."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(as_table(rows, everything=True))
    return text.getvalue().rstrip("\n")


def as_latex(rows: Sequence[Row]) -> str:
    """A `tabular` for the booktabs package."""

    def line(cells: Sequence[str]) -> str:
        escaped = (cell.replace("_", r"\_").replace("±", r"$\pm$") for cell in cells)
        return " & ".join(escaped) + r" \\"

    header, *lines = as_table(rows)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{ll{'r' * (len(header) - 2)}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            *map(line, lines),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _cell(measured: Sequence[float | None]) -> str:
    values = [value for value in measured if value is not None]
    if not values:
        return "-"
    mean = statistics.mean(values)
    digits = 3 if abs(mean) < 10 else 1
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"


def _row(group: Sequence[RunFolder], split: str) -> Row:
    seeds, scores, costs = [], [], []
    for folder in group:
        result = folder.read_result()
        if split not in result["splits"]:
            raise RecipeError(
                f"{folder.path}: has no scores of the split {split!r}; "
                f"run `hieraseg evaluate {folder.path} --split {split}` first"
            )
        recipe = yaml.safe_load(folder.recipe.read_text(encoding="utf-8"))
        seeds.append(recipe["training"]["seed"])
        scores.append(result["splits"][split])
        costs.append(result["cost"])
    path = group[0].path
    name = path.name.rsplit("-seed", 1)[0]
    return Row(f"{path.parent.name}/{name}", seeds, scores, costs)


def _run_folders(path: Path, runs: Path) -> list[RunFolder]:
    """The finished runs that a run folder, a folder of runs or a recipe file stands for."""
    if (path / "recipe.yaml").is_file():
        return [RunFolder.open(path)]
    root = path if path.is_dir() else runs / path.stem
    finished = sorted(result.parent for result in root.glob("**/result.json"))
    if not finished:
        what = "no finished run in it" if path.is_dir() else f"no finished run in {root}"
        if not path.exists():
            what = f"no such folder or recipe, and {what}"
        raise RecipeError(f"{path}: {what}; run `hieraseg run` first")
    return [RunFolder(folder) for folder in finished]
