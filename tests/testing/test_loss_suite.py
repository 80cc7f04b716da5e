"""The suite of losses: it passes a right one, and finds what is wrong with others."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from tests.support.broken import check, failed, reasons


class Right(Loss):
    """Cross-entropy of every level."""

    def __init__(self, hierarchy: Hierarchy, weight: float = 1.0) -> None:
        """Make it.

        Args:
            hierarchy: the class tree.
            weight: factor of all terms.
        """
        super().__init__()
        self.hierarchy, self.weight = hierarchy, weight

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        return {
            f"ce_level{level + 1}": self.weight * self.mean(logits, targets[:, level])
            for level, logits in enumerate(prediction.logits)
        }

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        valid = (target != IGNORE_INDEX).sum()
        return self.total(logits.float(), target) / valid.clamp(min=1)

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="sum")


class OfLeaves(Right):
    """Cross-entropy of the leaves."""

    levels, activation = "leaves", "leaf_softmax"

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        return {"ce": self.mean(prediction.logits[-1], targets[:, -1])}


class WithEmbedding(Right):
    """Cross-entropy, and an embedding that is drawn to the origin where pixels are valid."""

    embedding_channels = 3

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        embedding = prediction.embedding
        assert embedding is not None
        leaves = F.interpolate(targets[:, -1:].double(), embedding.shape[-2:])
        length = embedding.float().square().mean(1) * (leaves[:, 0] != IGNORE_INDEX)
        return {**super().forward(prediction, targets), "length": length.mean()}


@pytest.mark.parametrize("right", [Right, OfLeaves, WithEmbedding])
def test_a_right_loss_has_all_properties(right: type[Loss]) -> None:
    report = check("losses", right, compiled=True, settings=({}, {"weight": 0.5}))
    assert failed(report) == set(), reasons(report)
    assert report.count("passed") >= 20


class Undocumented(Right):
    """Cross-entropy of every level."""

    def __init__(self, hierarchy: Hierarchy, weight: float = 1.0, gamma: float = 0.0) -> None:
        """Args: none are said."""
        super().__init__(hierarchy, weight)


class LongSummary(Right):
    """Cross-entropy of every level, in a sentence
    that goes on.
    """


class NoLoss(nn.Module):
    """Cross-entropy of every level, in a module that is no Loss."""

    levels, activation, embedding_channels = "all", "softmax", 0
    mean, total, weight = Right.mean, Right.total, 1.0
    forward = Right.forward


class OtherWords(Right):
    """It trains all levels, and says so in a word of its own."""

    activation: Any = "soft max"


class BadName(Right):
    """The names of its terms are no identifiers."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        return {f"Loss/{key}": term for key, term in super().forward(prediction, targets).items()}


class PerImage(Right):
    """Its terms are no scalars, but hold one number."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().mean(logits, target)[None]


class Learns(Right):
    """It has a parameter."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)
        self.scale = nn.Parameter(torch.ones(()))


class Remembers(Right):
    """It has a buffer that is saved."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)
        self.register_buffer("scale", torch.ones(()))


class SaysAll(OfLeaves):
    """It trains the leaves, and says that it trains all levels."""

    levels = "all"


class SaysEmbedding(Right):
    """It asks for an embedding that it does not train."""

    embedding_channels = 3


class FirstLogits(OfLeaves):
    """It takes the first logits for those of the leaves."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        first = prediction.logits[0]
        return {"ce": self.mean(first, targets[:, -1].clamp(max=first.shape[1] - 1))}


class VoidIsFirst(Right):
    """It takes void pixels for the first class."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().mean(logits, target.clamp(min=0))


class ReadsVoid(Right):
    """What is said of void pixels scales its terms, without a gradient."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().mean(logits, target) * (1 + logits.detach().float().mean().sigmoid())


class NoClamp(Right):
    """It divides by the number of valid pixels, and be it 0."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.total(logits.float(), target) / (target != IGNORE_INDEX).sum()


class NoGraph(Right):
    """Where there is nothing to learn, its zero has no graph."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        if (target == IGNORE_INDEX).all():
            return torch.zeros(())
        return super().mean(logits, target)


class Negated(Right):
    """It has a sign wrong."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(-logits, target)


class AmongSiblings(Right):
    """A softmax among the classes of one parent, which it does not say."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        terms = {}
        for level, logits in enumerate(prediction.logits):
            parents = self.hierarchy.parents[level]
            target = targets[:, level]
            others = parents[target.clamp(min=0)][..., None] != parents
            valid = (target != IGNORE_INDEX)[..., None]
            hidden = logits.float().masked_fill((others & valid).movedim(-1, 1), -torch.inf)
            valid_count = valid.sum().clamp(min=1)
            terms[f"level{level + 1}"] = super().total(hidden, target) / valid_count
        return terms


class SideBySide(Right):
    """It takes the leaves of a root to stand side by side, in the order of the roots."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        counts = self.hierarchy.paths[:, 0].bincount().tolist()
        families = prediction.logits[-1].float().split(counts, dim=1)
        roots = torch.stack([one.logsumexp(1) for one in families], dim=1)
        valid = (targets[:, 0] != IGNORE_INDEX).sum().clamp(min=1)
        return {
            **super().forward(prediction, targets),
            "roots": super().total(roots, targets[:, 0]) / valid,
        }


class WritesInPlace(Right):
    """It writes into the logits, where a shift does not matter."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().mean(logits.add_(1), target)


class InHalf(Right):
    """It computes in the precision that it is given."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.total(logits, target) / (target != IGNORE_INDEX).sum().clamp(min=1)


class LogOfScore(Right):
    """It takes the logarithm of a softmax."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            logits.softmax(1).log(), target, ignore_index=IGNORE_INDEX, reduction="sum"
        )


class MatrixProduct(Right):
    """A matrix product, which autocast takes to half precision."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        identity = torch.eye(logits.shape[1])
        return super().total(torch.einsum("bchw,cd->bdhw", logits, identity), target)


class Random(Right):
    """Its terms are a little random."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(logits, target) * (1 + 1e-5 * torch.rand(()))


class OtherCompiled(Right):
    """It computes something else when it is compiled."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(logits, target) * (2 if torch.compiler.is_compiling() else 1)


class TwoLevels(Right):
    """It takes for granted that there is a second level."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        assert prediction.logits[1] is not None
        return super().forward(prediction, targets)


class Regions(Right):
    """It takes for granted that an image has a region of 3 x 3 pixels."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(logits, target) + 0 * F.avg_pool2d(logits, 3).sum()


class EqualSizes(WithEmbedding):
    """It takes for granted that the embedding is as large as the logits."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        assert prediction.embedding is not None
        valid = (targets[:, -1:] != IGNORE_INDEX) * prediction.embedding.float()
        return {**Right.forward(self, prediction, targets), "length": valid.square().mean()}


@pytest.mark.parametrize(
    ("broken", "properties", "words"),
    [
        (Undocumented, {"every_argument_is_documented"}, "'weight', 'gamma'"),
        (LongSummary, {"the_docstring_begins_with_a_summary"}, "in a sentence"),
        (
            OtherWords,
            {"it_says_what_it_needs_in_known_words", "minimising_it_teaches_the_classes"},
            "'soft max'",
        ),
        (BadName, {"terms_are_named_scalars"}, "'Loss/ce_level1'"),
        (Learns, {"nothing_is_learnt_but_the_model"}, "the parameters scale"),
        (Remembers, {"nothing_is_learnt_but_the_model"}, "persistent=False"),
        (SaysAll, {"it_trains_what_it_says_it_needs"}, "levels is 'all', but logits 1 of 3"),
        (SaysEmbedding, {"it_trains_what_it_says_it_needs"}, "embedding_channels is 3, but"),
        (FirstLogits, {"a_loss_of_the_leaves_needs_no_other_logits"}, "read `prediction.logits"),
        (
            VoidIsFirst,
            {
                "void_pixels_have_exactly_no_gradient",
                "what_is_said_of_void_pixels_does_not_matter",
                "an_all_void_batch_gives_zero_with_a_graph",
                "labels_may_be_known_on_some_levels_only",
                "the_order_of_leaves_does_not_matter",
            },
            "void pixels take part",
        ),
        (ReadsVoid, {"what_is_said_of_void_pixels_does_not_matter"}, "where they say something"),
        (
            NoClamp,
            {
                "an_all_void_batch_gives_zero_with_a_graph",
                "labels_may_be_known_on_some_levels_only",
            },
            "clamp(min=1)",
        ),
        (
            NoGraph,
            {
                "an_all_void_batch_gives_zero_with_a_graph",
                "labels_may_be_known_on_some_levels_only",
            },
            "has no graph",
        ),
        (
            Negated,
            {"a_right_answer_costs_less_than_a_wrong_one", "minimising_it_teaches_the_classes"},
            "is a sign wrong",
        ),
        (AmongSiblings, {"minimising_it_teaches_the_classes"}, "read by the activation 'softmax'"),
        (
            SideBySide,
            {"a_right_answer_costs_less_than_a_wrong_one", "the_order_of_leaves_does_not_matter"},
            "siblings need not stand side by side",
        ),
        (WritesInPlace, {"inputs_are_not_changed"}, "loss changes the logits it is given"),
        (InHalf, {"extreme_logits_give_finite_losses_and_gradients"}, "begin with `logits.float"),
        (LogOfScore, {"extreme_logits_give_finite_losses_and_gradients"}, "log_softmax"),
        (MatrixProduct, {"autocast_does_not_change_the_loss"}, "matrix products lose precision"),
        (Random, {"the_same_again_gives_the_same"}, "seeded by an argument and the progress"),
        (TwoLevels, {"trees_of_every_shape"}, "IndexError"),
        (Regions, {"images_of_odd_sizes"}, "RuntimeError"),
        (EqualSizes, {"an_embedding_may_be_smaller"}, "RuntimeError"),
    ],
)
def test_what_is_wrong_is_found(broken: type[Loss], properties: set[str], words: str) -> None:
    attributes = {"least": 0.0} if broken is SideBySide else {}
    report = check("losses", broken, **attributes)
    assert failed(report) == properties, reasons(report)
    assert words in reasons(report)


def test_what_only_a_compiler_changes_is_found() -> None:
    assert failed(check("losses", OtherCompiled, compiled=True)) == {"torch_compile_gives_the_same"}


@pytest.mark.parametrize(
    ("broken", "name", "words"),
    [
        (NoLoss, "it_says_what_it_needs_in_known_words", "it is no `hieraseg.Loss`"),
        (PerImage, "terms_are_named_scalars", "has shape [1]"),
    ],
)
def test_what_breaks_other_properties_too_is_found(broken: Any, name: str, words: str) -> None:
    report = check("losses", broken)
    assert name in failed(report)
    assert words in reasons(report)


def test_a_perfect_prediction_that_costs_something() -> None:
    class Offset(Right):
        """Cross-entropy that is never zero where a pixel is valid."""

        def total(self, logits: Tensor, target: Tensor) -> Tensor:
            return super().total(logits, target) + 0.1 * (target != IGNORE_INDEX).sum()

    assert failed(check("losses", Offset)) == set()
    found = failed(check("losses", Offset, least=0.0))
    assert found == {"a_right_answer_costs_less_than_a_wrong_one"}
