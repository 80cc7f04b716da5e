"""The numbers of a run by name, as trackers show them: `group/name`."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

_MOST_CLASSES = 100
"""Levels with more classes have no curve per class: there would be too many to find one."""


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in the record of a validation, without those that are undefined.

    Args:
        record: as `metrics.jsonl` has it.
    """
    return {name: float(value) for name, value in _scalars(record) if value is not None}


def best_scalars(scores: Mapping[str, Any]) -> dict[str, float]:
    """The scores of the best checkpoint."""
    named = {f"best/miou_level_{one['level']}": one["miou"] for one in scores["levels"]}
    named["best/coherence"] = scores["coherence"]
    return {name: float(value) for name, value in named.items() if value is not None}


def learning_rates(
    optimizer: Optimizer, parts: Mapping[str, list[nn.Parameter]]
) -> dict[str, float]:
    """The learning rate of each part of the model, or the lowest and the highest in it.

    Args:
        optimizer: the optimizer.
        parts: parameters of the model by part.
    """
    found: dict[str, float] = {}
    for part, parameters in parts.items():
        own = set(map(id, parameters))
        rates = {
            float(group["lr"])
            for group in optimizer.param_groups
            if any(id(parameter) in own for parameter in group["params"])
        }
        if len(rates) == 1:
            found[f"learning_rate/{part}"] = rates.pop()
        elif rates:
            found[f"learning_rate/{part}_lowest"] = min(rates)
            found[f"learning_rate/{part}_highest"] = max(rates)
    return found


def _scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    yield "progress/epoch", record["passes"]
    for split, losses in (("train", record), ("val", record["val"])):
        yield f"loss/{split}", losses.get("loss")
        terms = losses.get("terms") or {}
        if len(terms) > 1:
            yield from ((f"loss_terms/{split}_{term}", value) for term, value in terms.items())
    for of, value in record.get("gradient_norm", {}).items():
        yield f"gradient_norm/{of}", value
    yield "gradient_norm/skipped_steps", record.get("skipped_steps")
    yield "speed/images_per_second", record["images_per_second"]
    yield "speed/waiting_for_data_share", record["waiting_for_data"]
    for split in ("train", "val"):
        for level in record[split]["levels"]:
            yield f"miou/{split}_level_{level['level']}", level["miou"]
        yield f"coherence/{split}", record[split]["coherence"]
    for level in record["val"]["levels"]:
        if len(level.get("iou", ())) <= _MOST_CLASSES:
            for name, value in level.get("iou", {}).items():
                yield f"iou_level_{level['level']}/{name}", value
