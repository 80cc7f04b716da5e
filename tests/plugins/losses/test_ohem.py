"""Online hard example mining: the pixels that are chosen, by sorting them one by one."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction, registry
from hieraseg.errors import RecipeError
from hieraseg.recipe import load
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.losses import IGNORED, TREE, leaf_sum, make_loss, random_batch, valid_pixels
from tests.support.runs import QUICKSTART
from tests.support.trees import SEEDS, Tree, nested_trees

SHARES = st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])


class Seen(Loss):
    """Records its arguments.

    Args:
        levels: see `Loss`.
        activation: see `Loss`.
    """

    pixelwise = True

    def __init__(self, levels: Any = "all", activation: Any = "softmax") -> None:
        super().__init__()
        self.levels, self.activation = levels, activation

    def forward(
        self, prediction: Prediction, targets: Tensor, progress: Any = None
    ) -> dict[str, Tensor]:
        self.prediction, self.targets, self.progress = prediction, targets, progress
        return {"seen": prediction.logits[-1].sum()}


def seen_targets(
    hierarchy: Hierarchy, logits: list[Tensor], targets: Tensor, inner: Seen, **arguments: Any
) -> Tensor:
    make_loss("ohem", hierarchy, loss=inner, **arguments)(Prediction(tuple(logits)), targets)
    return inner.targets


def scores_of(
    activation: str, tree: Tree, hierarchy: Hierarchy, own: list[Tensor], level: int
) -> list[float]:
    """Scores of the classes of a level at one pixel."""
    if activation == "sigmoid":
        return [1 / (1 + math.exp(-z)) for z in own[level].tolist()]
    if activation == "softmax":
        shares = [math.exp(z) for z in own[level].tolist()]
        return [share / sum(shares) for share in shares]
    names = hierarchy.level_names[level]
    return [float(leaf_sum(own, tree, hierarchy, (level, name))) for name in names]


@given(nested_trees(), SEEDS, IGNORED, SHARES, SHARES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "leaf_softmax"])
def test_the_pixels_that_are_predicted_worst(
    activation: str, tree: Tree, seed: int, ignored: float, threshold: float, min_kept: float
) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, ignored)
    levels = "leaves" if activation == "leaf_softmax" else "all"
    found = seen_targets(
        hierarchy,
        [z.detach() for z in logits],
        targets,
        Seen(levels, activation),
        threshold=threshold,
        min_kept=min_kept,
    )
    for level in range(hierarchy.num_levels):
        scores = {}
        for (b, y, x), true in valid_pixels(targets[:, level]):
            own = [z[b, :, y, x].detach().double() for z in logits]
            of_classes = scores_of(activation, tree, hierarchy, own, level)
            own_score = of_classes.pop(true)
            scores[b, y, x] = min([own_score, *(1 - other for other in of_classes)])
        kept = max(math.ceil(len(scores) * min_kept), 1)
        last = sorted(scores.values())[:kept][-1:] if scores else []
        for (b, y, x), score in scores.items():
            if min(abs(score - threshold), *(abs(score - one) for one in last)) < 1e-5:
                continue  # equal but for rounding: which of them is kept is not defined
            is_kept = found[b, level, y, x] == targets[b, level, y, x]
            assert is_kept == (score < threshold or score < last[0])
        is_void = targets[:, level] == IGNORE_INDEX
        assert found[:, level][is_void].eq(IGNORE_INDEX).all()
        # As many are kept as shall be, and in exact arithmetic no more.
        number = int((found[:, level] != IGNORE_INDEX).sum())
        assert number >= min(kept, len(scores))


def one_row(*scores: float) -> tuple[Hierarchy, list[Tensor], Tensor]:
    """Pixels of class a, whose scores are given, of two classes."""
    a = torch.tensor(scores)
    logits = torch.stack([a, 1 - a]).log().view(1, 2, 1, -1)
    return Hierarchy.from_tree(["a", "b"]), [logits], torch.zeros(1, 1, 1, len(scores)).long()


@pytest.mark.parametrize(
    ("threshold", "min_kept", "kept"),
    [
        (0.7, 0.0, [0.2, 0.6]),
        (0.7, 0.6, [0.2, 0.6, 0.75]),
        (0.0, 0.4, [0.2, 0.6]),
        (0.0, 0.41, [0.2, 0.6, 0.75]),
        (0.1, 0.0, [0.2]),  # one is left in any case
        (1.0, 0.0, [0.8, 0.2, 0.99, 0.6, 0.75]),
        (0.0, 1.0, [0.8, 0.2, 0.99, 0.6, 0.75]),
    ],
)
def test_by_hand(threshold: float, min_kept: float, kept: list[float]) -> None:
    hierarchy, logits, targets = one_row(0.8, 0.2, 0.99, 0.6, 0.75)
    loss = make_loss(
        "ohem",
        hierarchy,
        loss=make_loss("weighted_ce", hierarchy),
        threshold=threshold,
        min_kept=min_kept,
    )
    terms = loss(Prediction(tuple(logits)), targets)
    expected = sum(-math.log(score) for score in kept) / len(kept)
    assert terms["ce_level1"].item() == pytest.approx(expected, rel=1e-5)


def test_only_chosen_pixels_have_gradients() -> None:
    hierarchy, logits, targets = one_row(0.8, 0.2, 0.99, 0.6)
    for name in ("weighted_ce", "bce", "tree_min", "marginal_ce"):
        loss = make_loss("ohem", hierarchy, loss=make_loss(name, hierarchy), min_kept=0.0)
        sure = logits[0].exp().logit().requires_grad_()  # also by the sigmoid
        _, gradients = terms_and_gradients(loss, [sure], targets)
        assert gradients[0].abs().sum(1).flatten().gt(0).tolist()[1:3] == [True, False]


def test_nan_is_kept() -> None:
    hierarchy, logits, targets = one_row(0.8, math.nan, 0.99, 0.6)
    for min_kept in (0.0, 0.5, 1.0):
        found = seen_targets(hierarchy, logits, targets, Seen(), min_kept=min_kept)
        assert found[0, 0, 0, 1] == 0


def test_it_is_like_the_other_loss() -> None:
    """Attributes, logits, embedding and progress are those of the other loss."""
    hierarchy, logits, targets = random_batch(TREE, 0, 0.3)
    embedding = torch.randn(2, 4, 1, 1)
    prediction = Prediction(tuple(logits), embedding)
    inner = Seen("leaves", "leaf_softmax")
    inner.embedding_channels, inner.capturable, inner.capturable_reason = 4, False, "waits"
    loss = make_loss("ohem", hierarchy, loss=inner)
    for attribute in ("levels", "activation", "embedding_channels", "capturable_reason"):
        assert getattr(loss, attribute) == getattr(inner, attribute)
    assert not loss.capturable
    loss(prediction, targets, 0.25)
    assert inner.prediction.logits == prediction.logits[-1:]
    assert inner.prediction.embedding is embedding
    assert inner.progress == 0.25


def test_a_loss_of_an_embedding_alone_is_refused() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    inner = Seen("none")
    with pytest.raises(ValueError, match=r"^loss must train class scores, by which pixels are"):
        make_loss("ohem", hierarchy, loss=inner)


@pytest.mark.parametrize(
    "inner", ["{name: dice}", "{name: sum, losses: [bce, {name: sum, losses: [bce, dice]}]}"]
)
def test_a_loss_that_is_no_mean_over_pixels_is_refused(tmp_path: Path, inner: str) -> None:
    """In a recipe with its line, before anything is built."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"base: {QUICKSTART}\nloss:\n  name: ohem\n  loss: {inner}\n")
    with pytest.raises(RecipeError) as caught:
        load(recipe, [])
    message = str(caught.value)
    assert message.startswith(f"{recipe}:4: loss.loss: must be pixelwise, got Dice (")
    assert message.endswith("one that is no mean over pixels goes beside this one in a `sum`)")


def test_losses_of_regions_say_so() -> None:
    losses = registry.losses
    regions = {name for name in losses.names() if not losses.get(name).pixelwise}
    assert regions == {
        *("dice", "tversky", "lovasz", "rmi", "logic_rules", "tree_triplet", "hssn", "ohem")
    }


def test_a_sum_is_pixelwise_if_all_its_losses_are() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    ce, dice = (make_loss(name, hierarchy) for name in ("weighted_ce", "dice"))
    add = registry.losses.get("sum")
    make_loss("ohem", hierarchy, loss=add(losses=[ce, ce]))
    with pytest.raises(ValueError, match=r"^loss must be pixelwise, got Sum$"):
        make_loss("ohem", hierarchy, loss=add(losses=[ce, dice]))
