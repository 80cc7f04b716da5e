"""What a run says of its validations."""

from collections.abc import Mapping
from typing import Any

from hieraseg.recipe import Recipe
from hieraseg.training.state import State


def validation_line(recipe: Recipe, state: State, record: Mapping[str, Any], improved: bool) -> str:
    """A validation in one line.

    Args:
        recipe: the resolved recipe.
        state: state of the run.
        record: as `Meter.record` gives it, with the scores of `val`.
        improved: whether its score is the best so far.
    """
    scores, speed = record["val"], record["images_per_second"]
    words = [
        f"loss {record['loss']:.4f}",
        f"mIoU per level: train {_level_scores(record['train'])}",
        f"val {_level_scores(scores)}",
        *([f"val loss {scores['loss']:.4f}"] if scores.get("loss") is not None else []),
        *([f"{speed:.0f} images/s"] if speed is not None else []),
        *([f"best so far{by_score(recipe)}"] if improved else []),
    ]
    where = f"epoch {state.epoch}/{recipe.training.epochs}"
    if not state.plan.is_by_epoch:
        where += f", step {state.step}/{state.total_steps}"
    return f"{where}: {', '.join(words)}"


def score_name(recipe: Recipe) -> str:
    """The score that decides which weights are the best, in words."""
    monitor = recipe.validation.monitor
    return "mIoU" if monitor == "miou" else monitor


def by_score(recipe: Recipe) -> str:
    """That another score than the usual one decides; else empty."""
    return "" if recipe.validation.monitor == "miou" else f" by {score_name(recipe)}"


def _level_scores(scores: dict[str, Any]) -> str:
    """The mIoU of each level in one line."""
    return " ".join(
        "-" if level["miou"] is None else f"{level['miou']:.3f}" for level in scores["levels"]
    )
