"""`hieraseg.build`: what a recipe names, for a training loop of one's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hieraseg
from hieraseg.errors import RecipeError
from hieraseg.recipe import load
from hieraseg.training.setup import set_up
from tests.support.components import VALID
from tests.support.runs import QUICKSTART

SMALL: dict[str, Any] = {
    "data.image_size": (64, 64),
    "input.size": [64, 64],
    "data.train_images": 4,
    "data.val_images": 2,
    "decoder.width": 8,
    "backbone.weights": None,
    "training.seed": 3,
}


def test_the_weights_a_run_starts_with() -> None:
    """And the random numbers of the notebook stay as they are."""
    torch.manual_seed(5)
    expected_draw = torch.rand(3)
    torch.manual_seed(5)
    parts = hieraseg.build(QUICKSTART, SMALL)
    torch.testing.assert_close(torch.rand(3), expected_draw, rtol=0, atol=0)
    texts = {"data.image_size": "[64, 64]", "backbone.weights": "null"}
    recipe = load(QUICKSTART, [(key, texts.get(key, str(one))) for key, one in SMALL.items()])
    assert parts.recipe == recipe
    _, state = set_up(recipe)
    expected = state.model.state_dict()
    assert parts.model.state_dict().keys() == expected.keys()
    for name, weights in parts.model.state_dict().items():
        torch.testing.assert_close(weights, expected[name], rtol=0, atol=0)
    own, run = parts.optimizer.state_dict(), state.optimizer.state_dict()
    assert [group.keys() - {"initial_lr"} for group in own["param_groups"]] == [
        group.keys() - {"initial_lr"} for group in run["param_groups"]
    ]


def test_a_loop_of_ones_own_learns() -> None:
    parts = hieraseg.build(QUICKSTART, {**SMALL, "optimizer.lr": 1e-2})
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    masks = (images.mean(1) > 0.5).long()  # background and one leaf
    targets = parts.hierarchy.encode(masks)
    parts.model.train()
    losses = []
    for _ in range(5):
        prediction = parts.model(images)
        total = sum(parts.terms(prediction, targets).values())
        assert isinstance(total, torch.Tensor)
        parts.optimizer.zero_grad()
        total.backward()
        parts.optimizer.step()
        losses.append(total.item())
    assert losses[-1] < losses[0]
    classes, scores = parts.classes(prediction), parts.scores(prediction)
    assert classes.shape == targets.shape
    assert [level.shape[1] for level in scores] == parts.hierarchy.num_classes
    found = hieraseg.Scores(parts.hierarchy)
    found.update(classes, targets, scores)
    assert found.compute()["images"] == 2


def test_pixels_are_counted_for_a_loss_that_asks() -> None:
    loss = {"name": "weighted_ce", "class_weights": "median_frequency"}
    parts: Any = hieraseg.build(QUICKSTART, {**SMALL, "loss": loss})
    expected, _ = set_up(parts.recipe)
    own, run = dict(parts.loss.named_buffers()), dict(expected.loss.named_buffers())
    assert own.keys() == run.keys()
    for name, weights in own.items():
        torch.testing.assert_close(weights, run[name])


def test_numbers_of_numpy() -> None:
    """As loops over seeds and learning rates have them."""
    numbers = {"training.seed": np.int64(4), "optimizer.lr": np.float32(0.25)}
    recipe = hieraseg.build(QUICKSTART, {**SMALL, **numbers}).recipe
    assert (recipe.training.seed, recipe["optimizer"].arguments["lr"]) == (4, 0.25)


def test_plugin_files(tmp_path: Path) -> None:
    plugin = tmp_path / "my_losses.py"
    plugin.write_text(
        "from hieraseg import Loss, registry\n\n\n"
        '@registry.losses.register("mine")\n'
        "class Mine(Loss):\n"
        "    def forward(self, prediction, targets):\n"
        "        return {'mine': prediction.logits[0].mean()}\n"
    )
    parts = hieraseg.build(QUICKSTART, {**SMALL, "loss": "mine"}, plugins=[plugin])
    assert type(parts.loss).__name__ == "Mine"


def test_problems_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(VALID)
    with pytest.raises(RecipeError, match="no shipped recipe has this name, did you mean"):
        hieraseg.build("quickstrat")
    with pytest.raises(RecipeError, match=r"optimizer\.lrr: .*did you mean 'lr'"):
        hieraseg.build(QUICKSTART, {"optimizer.lrr": 1e-3})
    with pytest.raises(RecipeError, match=r"training\.epochs: expected a positive int, got '3'"):
        hieraseg.build(QUICKSTART, {"training.epochs": "3"})
