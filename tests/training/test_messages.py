"""What a run says of its validations."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from hieraseg.recipe import Recipe
from hieraseg.training.intervals import Plan
from hieraseg.training.messages import validation_line
from hieraseg.training.state import State


@pytest.mark.parametrize(
    ("speed", "improved", "end"),
    [
        (12.3, True, "val 0.500 -, 12 images/s, best so far by miou@mean"),
        (None, False, "val 0.500 -"),  # resumed after the last step before the validation
    ],
)
def test_the_line_of_a_validation(speed: float | None, improved: bool, end: str) -> None:
    recipe = Mock(
        spec=Recipe,
        training=SimpleNamespace(epochs=3),
        validation=SimpleNamespace(monitor="miou@mean"),
    )
    plan = Plan(total_steps=168, steps_per_epoch=56, validate_every=30)
    state = Mock(spec=State, epoch=2, step=60, total_steps=168, plan=plan)
    scores: dict[str, Any] = {"levels": [{"miou": 0.5}, {"miou": None}]}
    record = {"loss": 1.5, "train": scores, "val": scores, "images_per_second": speed}
    line = validation_line(recipe, state, record, improved)
    assert line == f"epoch 2/3, step 60/168: loss 1.5000, mIoU per level: train 0.500 -, {end}"
