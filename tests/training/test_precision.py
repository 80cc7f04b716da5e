"""Mixed precision is for the model alone: it sees the images of full precision."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hieraseg.contracts import Prediction
from hieraseg.recipe import load
from hieraseg.training.order import run_step
from hieraseg.training.setup import set_up
from hieraseg.training.step import train_step
from tests.support.runs import QUICKSTART, SMALL

CROPS = {"input.resize": "shorter", "augmentation.crop": "0", "augmentation.scale": "[0.4, 2]"}
NAMES = [option.removeprefix("--") for option in SMALL[::2]]


def first_step(precision: str, overrides: dict[str, str]) -> tuple[Tensor, dict[str, Tensor]]:
    """The images that the model sees in the first step, and the terms of the loss."""
    changes = {"training.device": "cpu", "training.precision": precision, **overrides}
    recipe = load(QUICKSTART, [*zip(NAMES, SMALL[1::2], strict=True), *changes.items()])
    parts, state = set_up(recipe)
    seen: list[Tensor] = []

    def check(model: Any, images: tuple[Tensor], prediction: Prediction) -> None:
        seen.extend(images)
        assert torch.is_autocast_enabled("cpu") == (precision != "32-true")
        assert all(level.dtype == torch.float32 for level in prediction.logits)

    parts.segmenter.model.register_forward_hook(check)
    parts.forward.train()
    (batch,) = parts.view.load([run_step(parts, 1, 1, torch.arange(4))])
    terms = train_step(parts, state, batch)
    return seen[0], terms


@pytest.mark.parametrize("overrides", [{}, CROPS], ids=["stretched", "crops"])
def test_images_are_the_same_and_losses_similar(overrides: dict[str, str]) -> None:
    images, terms = first_step("32-true", overrides)
    found, mixed = first_step("bf16-mixed", overrides)
    assert found.dtype == torch.float32
    assert torch.equal(found, images)
    for name, term in mixed.items():
        assert term.dtype == torch.float32
        assert term != terms[name]
        torch.testing.assert_close(term, terms[name], rtol=0.05, atol=0)
