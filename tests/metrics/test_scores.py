"""Scores of batches in a loop of one's own are those of `result.json`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hieraseg
from hieraseg import Hierarchy, Scores
from hieraseg.metrics import scores as module
from hieraseg.recipe.dataset import build_dataset
from tests.support.runs import read_json

TREE = Hierarchy.from_tree(
    {"background": None, "body": {"upper": ["head", "arm"], "lower": ["leg"]}},
    background="background",
)


def test_scores_of_a_run(trained_run: Path) -> None:
    model = hieraseg.load(trained_run, device="cpu")
    dataset = build_dataset(model.recipe, model.hierarchy)
    cheap, complete = Scores(model.hierarchy), Scores(model.hierarchy)
    for id in dataset.ids("val"):
        result = model.predict(dataset.image(id))
        masks = torch.from_numpy(dataset.mask(id))[None]
        targets = model.hierarchy.encode(masks)
        cheap.update(result.classes[None], targets)
        complete.update(result.classes[None], targets, [level[None] for level in result.scores])
    expected = read_json(trained_run / "result.json")["splits"]["val"]
    found = complete.compute()
    assert found == {key: same(expected[key], found[key]) for key in found}
    for level, own in zip(expected["levels"], cheap.compute()["levels"], strict=True):
        assert own == {key: level[key] for key in own}


def same(expected: Any, found: Any) -> Any:
    """Equal but for the rounding of sums of scores."""
    if isinstance(expected, dict):
        return {key: same(value, found[key]) for key, value in expected.items()}
    if isinstance(expected, list):
        return [same(*pair) for pair in zip(expected, found, strict=True)]
    return None if expected is None else pytest.approx(expected, rel=1e-5)


def batch(images: int, seed: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Random classes, targets and scores."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, 4, (2, images, 9, 8), generator=generator)
    scores = [torch.rand(images, size, 9, 8, generator=generator) for size in TREE.num_classes]
    return TREE.encode(masks[0]), TREE.encode(masks[1]), scores


@pytest.mark.parametrize("complete", [False, True])
def test_batches_may_have_any_size(complete: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    classes, targets, levels = batch(7, 0)
    whole = Scores(TREE)
    whole.update(classes, targets, levels if complete else None)
    expected = whole.compute()
    monkeypatch.setattr(module, "_BLOCK", 2)
    for sizes in ([7], [1] * 7, [3, 4]):
        scores, start = Scores(TREE), 0
        for size in sizes:
            some = slice(start, start + size)
            own = [level[some].numpy() for level in levels] if complete else None
            scores.update(classes[some].to(torch.uint8), targets[some].numpy(), own)
            start += size
        assert scores.compute() == expected
        scores.reset()
        with pytest.raises(ValueError, match="call `update` first"):
            scores.compute()
    assert expected["images"] == 7
    assert ("ece" in expected["levels"][0]) == complete


def test_images_may_have_different_sizes() -> None:
    scores = Scores(TREE)
    right = TREE.encode(torch.tensor([[[0, 1, 2]]]))
    scores.update(right, right)
    wrong = TREE.encode(torch.tensor([[[1], [1]]]))
    scores.update(wrong, TREE.encode(torch.tensor([[[1], [2]]])))
    level = scores.compute()["levels"][2]
    # head: 2 of 3 pixels that it is or should be; arm: 1 of 2; leg is nowhere.
    assert level["iou"] == {"background": 1.0, "head": 2 / 3, "arm": 1 / 2, "leg": None}
    assert level["miou"] == pytest.approx(7 / 12)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c, t, s: (c, t[:, :2], s), "of shape [B, 3, H, W], got [2, 3, 9, 8] and [2, 2"),
        (lambda c, t, s: (c[0], t[0], s), "of shape [B, 3, H, W], got [3, 9, 8]"),
        (lambda c, t, s: (c.float(), t, s), "must be class indices, got torch.float32 and"),
        (lambda c, t, s: (c + 2, t, s), "predictions of level 1 must be in 0..1, got "),
        (lambda c, t, s: (torch.where(t < 0, t, -100), t, s), "of level 1 must be in 0..1, got -1"),
        (lambda c, t, s: (c, t + 2, s), "label values become classes with `hierarchy.encode`"),
        (lambda c, t, s: (c, torch.where(t == 0, 255, t), s), "targets of level 1 must be in 0..1"),
        (lambda c, t, s: (c, t, s[:2]), "expected scores of shapes [[2, 2, 9, 8], [2, 3, 9, 8], "),
        (lambda c, t, s: (c, t, None), "some batches have scores, others none"),
    ],
)
def test_wrong_batches(change: Any, problem: str) -> None:
    scores = Scores(TREE)
    scores.update(*batch(2, 0))
    before = scores.compute()
    with pytest.raises(ValueError) as caught:
        scores.update(*change(*batch(2, 1)))
    assert problem in str(caught.value)
    assert scores.compute() == before


def test_ignored_pixels() -> None:
    classes, targets, _ = batch(3, 0)
    targets[:, :, :4] = hieraseg.IGNORE_INDEX
    scores, part = Scores(TREE), Scores(TREE)
    scores.update(classes, targets)
    part.update(classes[:, :, 4:], targets[:, :, 4:])
    assert scores.compute() == part.compute()
    assert np.isfinite(scores.compute()["coherence"])
