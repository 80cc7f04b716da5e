"""What limits a recipe, from figures that leave no doubt."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hieraseg.recipe import Recipe, load
from hieraseg.training.limits import advice
from hieraseg.training.throughput import Throughput
from hieraseg.training.timing import PARTS
from tests.support.runs import QUICKSTART

FAST = Throughput(data=10_000.0, step=1000.0, both=990.0)
SLOW_DATA = Throughput(data=200.0, step=1000.0, both=200.0)
MODEL = dict(zip(PARTS, (0.05, 0.3, 0.05, 0.02, 0.5, 0.08, 0), strict=True))
LOSS = dict(zip(PARTS, (0.05, 0.2, 0.4, 0.02, 0.25, 0.08, 0), strict=True))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load(QUICKSTART, [], [])


def changed(recipe: Recipe, **training: Any) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **training))


def test_data(recipe: Recipe) -> None:
    text = advice(recipe, SLOW_DATA, MODEL, 0.9, None)
    assert text.startswith("The data limit this recipe: training loses 80% of its time")
    assert "input.store: decoded" in text
    decoded = replace(recipe, input=replace(recipe.input, store="decoded"))
    assert "input.store: decoded" not in advice(decoded, SLOW_DATA, MODEL, 0.9, None)


def test_fast_data_are_not_to_blame_on_a_busy_machine(recipe: Recipe) -> None:
    busy = Throughput(data=10_000.0, step=1000.0, both=700.0)
    assert busy.waiting == pytest.approx(0.3)
    assert advice(recipe, busy, MODEL, None, None).startswith("Computing limits")


def test_launches(recipe: Recipe) -> None:
    text = advice(recipe, FAST, MODEL, 0.6, None)
    assert "the GPU waits 60% of a step" in text
    assert text.endswith("increase training.batch_size.")
    text = advice(recipe, FAST, MODEL, 0.6, "it sorts on the host")
    assert "because it sorts on the host" in text
    text = advice(changed(recipe, capture="off"), FAST, MODEL, 0.6, "training.capture is off")
    assert text.endswith("set training.capture: auto.")


def test_computing(recipe: Recipe) -> None:
    text = advice(recipe, FAST, MODEL, 0.05, None)
    assert text.startswith("Computing limits this recipe: the model and the backward pass take 80%")
    assert "training.compile: model" in text
    assert "training.precision: bf16-mixed" in text
    assert "bf16" not in advice(recipe, FAST, MODEL, None, "the device is a CPU")
    assert "a cheaper loss" in advice(recipe, FAST, LOSS, 0.05, None)


def test_every_part_but_the_model_can_be_too_expensive(recipe: Recipe, tmp_path: Path) -> None:
    for part in set(PARTS) - {"forward", "backward"}:
        shares = {name: 0.5 if name == part else 0.1 for name in PARTS}
        assert f"the {part} 50%" in advice(recipe, FAST, shares, None, None)
