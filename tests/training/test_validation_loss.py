"""The loss of a split: the mean over its images, however they are batched and shared."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hieraseg.contracts import Loss, Prediction
from hieraseg.hierarchy import IGNORE_INDEX
from hieraseg.recipe import load
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from hieraseg.training.validation_loss import validation_loss
from tests.support.processes import as_processes, write_recipe

PROGRESS = 4 / 6  # of the fifth of six steps


def build(recipe: str, *overrides: tuple[str, str]) -> tuple[Parts, State]:
    """A run of six steps, after the fifth. Of its five training images two are nearly void."""
    options = [("training.epochs", "6"), ("validation.loss", "true"), *overrides]
    parts, state = set_up(load(recipe, options))
    state.step = 5
    return parts, state


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    return write_recipe(tmp_path)


def plain_loop(parts: Parts, stride: int = 1) -> dict[str, float]:
    """Each term of the loss in float64: image by image, weighted by the labelled pixels."""
    model: Any = copy.deepcopy(parts.segmenter.model).double().eval()
    store = parts.stores["train"]
    totals, pixels = dict[str, float](), 0
    for row in range(len(store)):
        image = torch.tensor(store.image(row)).permute(2, 0, 1)[None] / 255
        target = parts.hierarchy.encode(torch.tensor(store.mask(row))[None].int())
        added = [-side % stride for side in image.shape[-2:]]
        margin = (0, added[1], 0, added[0])
        image = torch.cat(
            [F.pad(image[:, [c]], margin, value=model.mean[0, c, 0, 0].item()) for c in range(3)], 1
        )
        target = F.pad(target, margin, value=IGNORE_INDEX)
        with torch.no_grad():
            prediction = Prediction(tuple(one.double() for one in model(image.double()).logits))
        known = int((target != IGNORE_INDEX).any(1).sum())
        for name, value in parts.loss(prediction, target).items():
            totals[name] = totals.get(name, 0) + known * value.item()
        pixels += known
    return {name: total / pixels for name, total in totals.items()}


def loss_of(parts: Parts, state: State) -> dict[str, Any]:
    return validation_loss(parts, state, parts.stores["train"])


def test_it_is_that_of_a_plain_loop(recipe: str) -> None:
    parts, state = build(recipe)
    expected = plain_loop(parts)
    found = loss_of(parts, state)
    assert found["terms"] == pytest.approx(expected, rel=1e-5)
    assert found["loss"] == pytest.approx(sum(expected.values()), rel=1e-5)
    assert not parts.segmenter.model.training


def test_what_is_added_for_the_stride_of_a_model_is_void(recipe: str) -> None:
    parts, state = build(recipe, ("input.resize", "shorter"), ("augmentation.crop", "0"))
    model: Any = parts.segmenter.model
    model.stride = 3  # of images of 16 pixels
    model.mean.copy_(torch.tensor([0.5, 0.25, 0.125]).view(1, 3, 1, 1))
    heads = [nn.Conv2d(3, n, 3, padding=1, padding_mode="replicate") for n in parts.num_classes]
    model.decoder.heads = nn.ModuleList(heads)
    expected = plain_loop(parts, stride=3)
    assert loss_of(parts, state)["terms"] == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(plain_loop(parts), rel=1e-3)


def test_batches_and_processes_change_nothing(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are fewer images than processes."""
    parts, state = build(recipe)
    expected = loss_of(parts, state)
    one_by_one, _ = build(recipe, ("evaluation.batch_size", "1"))
    one_by_one.segmenter.model.load_state_dict(parts.segmenter.model.state_dict())
    assert loss_of(one_by_one, state) == expected
    for number in (2, 7):

        def work(rank: int, number: int = number) -> dict[str, Any]:
            fabric = SimpleNamespace(
                global_rank=rank,
                world_size=number,
                device=torch.device("cpu"),
                autocast=torch.no_grad,
            )
            own = Mock(spec=Parts, **{**vars(parts), "fabric": fabric})
            return validation_loss(own, state, parts.stores["train"])

        with monkeypatch.context() as patch:
            assert as_processes(patch, number, work) == [expected] * number


def test_the_progress_is_that_of_the_last_step(recipe: str) -> None:
    parts, state = build(recipe)

    class Ramped(Loss):
        def forward(self, prediction: Any, targets: Any, progress: Any = None) -> dict[str, Any]:
            return {"ramp": progress}

    found = loss_of(replace(parts, loss=Ramped()), state)
    assert found["loss"] == pytest.approx(PROGRESS)


def test_a_split_without_labels_has_no_loss(recipe: str) -> None:
    parts, state = build(recipe, ("data.val_label", "255"))
    found = validation_loss(parts, state, parts.stores["val"])
    assert found["loss"] is None
    assert set(found["terms"].values()) == {None}


def test_images_without_labels_do_not_count(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where their loss is 0 / 0, as that of plain PyTorch."""
    parts, state = build(recipe)
    encode = parts.hierarchy.encode

    def without_few(*arguments: Any, **options: Any) -> Any:
        targets = encode(*arguments, **options)
        few = (targets != IGNORE_INDEX).flatten(1).sum(1) < targets[0].numel() / 2
        targets[few] = IGNORE_INDEX
        return targets

    class Plain(Loss):
        def forward(self, prediction: Prediction, targets: Any) -> dict[str, Any]:
            return {"ce": F.cross_entropy(prediction.logits[-1], targets[:, -1])}

    monkeypatch.setattr(parts.hierarchy, "encode", without_few)
    found = loss_of(replace(parts, loss=Plain()), state)
    assert found["loss"] > 0
