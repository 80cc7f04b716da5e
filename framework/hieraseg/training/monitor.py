"""The score that decides which weights are the best, and whether training still improves."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import torch

from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.hierarchy import Hierarchy
from hieraseg.metrics import PixelCounts, summarize
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build

LOSS = "loss"
_LOWEST_IS_BEST = (LOSS, "mistake_distance")
_MEAN = "mean"


class Monitored(NamedTuple):
    """The score that decides, as one validation has it.

    Attributes:
        name: its name, with its level, as in `miou@3`.
        level: its level, 1 for the coarsest; None if it is of no level or of several.
        value: its value; None if it is undefined.
    """

    name: str
    level: int | None
    value: float | None

    @property
    def rank(self) -> float | None:
        """The value, negated if lower ones are better."""
        if self.value is None or self.name.partition("@")[0] not in _LOWEST_IS_BEST:
            return self.value
        return -self.value


def check_monitor(recipe: Recipe, hierarchy: Hierarchy | None = None) -> None:
    """Check that there is a score of the name in `validation.monitor`.

    Args:
        recipe: the resolved recipe.
        hierarchy: its class tree, which is built if it is needed and None.

    Raises:
        RecipeError: there is none.
    """
    monitor = recipe.validation.monitor
    of_levels, of_all = _names()
    if monitor in of_levels:
        return
    hierarchy = hierarchy or build(recipe["hierarchy"])
    places = (*range(1, hierarchy.num_levels + 1), _MEAN)
    known = [*of_levels, *(f"{name}@{place}" for name in of_levels for place in places), *of_all]
    if monitor not in known:
        score, _, level = monitor.partition("@")
        problem = f"unknown score {monitor!r}, {did_you_mean(monitor, known)}"
        if score in of_levels and level.isdecimal():
            problem = f"{monitor}: the class tree has the levels 1 to {hierarchy.num_levels}"
        place = recipe.origin["validation.monitor"]
        raise RecipeError(f"{place}: validation.monitor: {problem}")


def monitored(scores: Mapping[str, Any], monitor: str, hierarchy: Hierarchy) -> Monitored:
    """The score that decides.

    Args:
        scores: scores of the validation split, from `metrics.summarize`, perhaps with its loss.
        monitor: name of the score, as `check_monitor` accepts it.
        hierarchy: the class tree.
    """
    score, _, place = monitor.partition("@")
    levels = scores["levels"]
    if score not in levels[0]:
        return Monitored(score, None, scores[score])
    if place == _MEAN:
        values = [level[score] for level in levels if level[score] is not None]
        return Monitored(monitor, None, sum(values) / len(values) if values else None)
    level = int(place) if place else deciding_level(scores, hierarchy)
    if level is None:
        return Monitored(score, None, None)
    return Monitored(f"{score}@{level}", level, levels[level - 1][score])


def deciding_level(scores: Mapping[str, Any], hierarchy: Hierarchy) -> int | None:
    """The finest level on which the validation split has labels of another class than background.

    Args:
        scores: scores of the validation split, from `metrics.summarize`.
        hierarchy: the class tree.

    Returns:
        1 is the coarsest; None if there is no such level.
    """
    for level in reversed(scores["levels"]):
        # The accuracy of a class without labels is None.
        accuracies = {**level["accuracy"], hierarchy.background: None}
        if any(accuracy is not None for accuracy in accuracies.values()):
            return int(level["level"])
    return None


def monitor_notice(found: Monitored, monitor: str, hierarchy: Hierarchy) -> str | None:
    """What to say of the score that decides, unless it is what the name of the score promises.

    Args:
        found: the score of the first validation.
        monitor: its name in the recipe.
        hierarchy: the class tree.
    """
    if found.value is None:
        what = f"labels from which {found.name} could be computed"
        if found.name in _names()[0]:
            what = "label of a class other than background"
        return (
            f"the split val has no {what}, so all validations are equal and the last one counts as "
            "best; check its masks and the class tree"
        )
    if found.level is not None and "@" not in monitor and found.level < hierarchy.num_levels:
        return f"the labels of val end on level {found.level}, so {found.name} decides what is best"
    return None


@cache
def _names() -> tuple[list[str], list[str]]:
    """Names of the scores of a level, and of those over all levels: what `summarize` computes."""
    hierarchy = Hierarchy.from_tree({"a": ["b"]})
    scores = summarize(PixelCounts(hierarchy, 1, torch.device("cpu")).arrays(), hierarchy)
    level = scores["levels"][0]
    of_levels = [name for name, value in level.items() if name != "level" and value is None]
    of_all = [name for name, value in scores.items() if value is None]
    return of_levels, [*of_all, LOSS]
