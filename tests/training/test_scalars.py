"""The names of numbers, as trackers show them."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from hieraseg.training.scalars import best_scalars, learning_rates, scalars


def scores(miou: float | None, classes: int = 1) -> dict[str, Any]:
    iou = {f"class {index}": 0.5 for index in range(classes)} | {"nowhere": None}
    return {"levels": [{"level": 1, "miou": miou, "iou": iou}], "coherence": 0.75}


def record(**more: Any) -> dict[str, Any]:
    return {
        "epoch": 2,
        "step": 6,
        "passes": 1.5,
        "loss": 3.0,
        "terms": {"ce": 1.0, "dice": 2.0},
        "images_per_second": 8.0,
        "waiting_for_data": None,
        "train": scores(0.25),
        "val": scores(None),
        **more,
    }


def test_undefined_numbers_are_left_out() -> None:
    assert scalars(record()) == {
        "progress/epoch": 1.5,
        "loss/train": 3.0,
        "loss_terms/train_ce": 1.0,
        "loss_terms/train_dice": 2.0,
        "speed/images_per_second": 8.0,
        "miou/train_level_1": 0.25,
        "coherence/train": 0.75,
        "coherence/val": 0.75,
        "iou_level_1/class 0": 0.5,
    }


def test_what_only_some_runs_have() -> None:
    val = scores(0.5) | {"loss": 4.0, "terms": {"ce": 4.0}}
    norms = {"gradient_norm": {"mean": 0.5, "max": 2.0}, "skipped_steps": 1}
    found = scalars(record(val=val, terms={"ce": 3.0}, waiting_for_data=0.125, **norms))
    assert {name: value for name, value in found.items() if name not in scalars(record())} == {
        "loss/val": 4.0,
        "gradient_norm/mean": 0.5,
        "gradient_norm/max": 2.0,
        "gradient_norm/skipped_steps": 1.0,
        "speed/waiting_for_data_share": 0.125,
        "miou/val_level_1": 0.5,
    }
    assert not any("terms" in name for name in found), "a single term is the loss"


@pytest.mark.parametrize(("classes", "curves"), [(99, 99), (100, 0)])
def test_levels_with_many_classes_have_no_curve_per_class(classes: int, curves: int) -> None:
    found = scalars(record(val=scores(0.5, classes)))
    assert sum(name.startswith("iou_level_1/") for name in found) == curves


def test_best_scores() -> None:
    assert best_scalars(scores(0.25)) == {"best/miou_level_1": 0.25, "best/coherence": 0.75}


def test_learning_rates_of_each_part() -> None:
    first, second, head = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    groups = [
        {"params": [first], "lr": 0.001},
        {"params": [second], "lr": 0.01},
        {"params": [head], "lr": torch.tensor(0.5)},
    ]
    parts = {"backbone": [first, second], "head": [head]}
    assert learning_rates(SGD(groups), parts) == {
        "learning_rate/backbone_lowest": 0.001,
        "learning_rate/backbone_highest": 0.01,
        "learning_rate/head": 0.5,
    }
    assert learning_rates(SGD([head], lr=0.5), {"backbone": [], "head": [head]}) == {
        "learning_rate/head": 0.5
    }
