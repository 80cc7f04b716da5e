"""Results as JSON, or as text for people to read."""

import json
from collections.abc import Mapping
from typing import Any

from hieraseg.cli.layout import format_table
from hieraseg.cli.streams import write_result


def print_result(as_json: bool, result: Any, text: str) -> None:
    """Print the result of a command.

    Args:
        as_json: whether `--json` is given.
        result: the result as JSON values.
        text: the result for people to read.
    """
    write_result(json.dumps(result, indent=2) if as_json else text)


def format_scores(scores: Mapping[str, Any], title: str) -> str:
    """Tables of a split's scores per class, per level and of the tree.

    Scores have their names in `result.json` (see `hieraseg.metrics.summarize`).
    """
    levels = scores["levels"]
    class_keys = [key for key, value in levels[0].items() if isinstance(value, dict)]
    level_keys = [key for key in levels[0] if key not in ("level", *class_keys)]
    tree_keys = [key for key, value in scores.items() if value is None or isinstance(value, float)]
    classes = [
        [f"{level['level']} {name}", *(_number(level[key][name]) for key in class_keys)]
        for level in levels
        for name in level["iou"]
    ]
    means = [[key, *(_number(level[key]) for level in levels)] for key in level_keys]
    tree = [[key, _number(scores[key])] for key in tree_keys]
    return "\n".join(
        [
            format_table(["level, class", *class_keys], classes, title),
            format_table(["", *(f"level {level['level']}" for level in levels)], means),
            format_table(["", "tree"], tree),
            f"{scores['images']} images at {scores['resolution']} resolution, {scores['tta']}",
        ]
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
