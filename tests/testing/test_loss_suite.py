"""The suite of losses passes a correct loss, and detects what is wrong with broken ones."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from tests.support.broken import check, failed, reasons


class Correct(Loss):
    """Cross-entropy of every level."""

    def __init__(self, hierarchy: Hierarchy, weight: float = 1.0) -> None:
        """Build the loss.

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


class LeavesOnly(Correct):
    """Cross-entropy of the leaves."""

    levels, activation = "leaves", "leaf_softmax"

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        return {"ce": self.mean(prediction.logits[-1], targets[:, -1])}


class WithEmbedding(Correct):
    """Cross-entropy, and the length of the embedding at valid pixels."""

    embedding_channels = 3

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        embedding = prediction.embedding
        assert embedding is not None
        leaves = F.interpolate(targets[:, -1:].double(), embedding.shape[-2:])
        length = embedding.float().square().mean(1) * (leaves[:, 0] != IGNORE_INDEX)
        return {**super().forward(prediction, targets), "length": length.mean()}


@pytest.mark.parametrize("loss", [Correct, LeavesOnly, WithEmbedding])
def test_a_correct_loss_has_all_properties(loss: type[Loss]) -> None:
    report = check("losses", loss, compiled=True, settings=({}, {"weight": 0.5}))
    assert failed(report) == set(), reasons(report)
    assert report.count("passed") >= 20


class Undocumented(Correct):
    """Cross-entropy of every level."""

    def __init__(self, hierarchy: Hierarchy, weight: float = 1.0, gamma: float = 0.0) -> None:
        """Args: not documented."""
        super().__init__(hierarchy, weight)


class LongSummary(Correct):
    """Cross-entropy of every level, in a summary
    of two lines.
    """


class NotALoss(nn.Module):
    """Cross-entropy of every level, but not a subclass of Loss."""

    levels, activation, embedding_channels = "all", "softmax", 0
    mean, total, weight = Correct.mean, Correct.total, 1.0
    forward = Correct.forward


class UnknownActivation(Correct):
    """Has an activation that does not exist."""

    activation: Any = "soft max"


class BadName(Correct):
    """Names of terms are not identifiers."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        return {f"Loss/{key}": term for key, term in super().forward(prediction, targets).items()}


class PerImage(Correct):
    """Terms have shape [1]."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().mean(logits, target)[None]


class HasParameter(Correct):
    """Has a parameter."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)
        self.scale = nn.Parameter(torch.ones(()))


class HasState(Correct):
    """Has a persistent buffer."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)
        self.register_buffer("scale", torch.ones(()))


class ClaimsAllLevels(LeavesOnly):
    """Trains only the leaves, although `levels` is "all"."""

    levels = "all"


class UnusedEmbedding(Correct):
    """Requests an embedding that it does not train."""

    embedding_channels = 3


class FirstLogits(LeavesOnly):
    """Reads the first logits as those of the leaves."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        first = prediction.logits[0]
        return {"ce": self.mean(first, targets[:, -1].clamp(max=first.shape[1] - 1))}


class VoidIsFirstClass(Correct):
    """Treats void pixels as the first class."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().mean(logits, target.clamp(min=0))


class ReadsVoid(Correct):
    """Scales terms by the prediction at void pixels, without a gradient."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().mean(logits, target) * (1 + logits.detach().float().mean().sigmoid())


class NoClamp(Correct):
    """Divides by the number of valid pixels even if it is 0."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.total(logits.float(), target) / (target != IGNORE_INDEX).sum()


class NoGraph(Correct):
    """Returns a zero without a graph if there is nothing to learn."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        if (target == IGNORE_INDEX).all():
            return torch.zeros(())
        return super().mean(logits, target)


class Negated(Correct):
    """Has the wrong sign."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(-logits, target)


class AmongSiblings(Correct):
    """Softmax among siblings, although the activation is "softmax"."""

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


class AdjacentSiblings(Correct):
    """Assumes that the leaves of a root are adjacent, in the order of the roots."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        counts = self.hierarchy.paths[:, 0].bincount().tolist()
        families = prediction.logits[-1].float().split(counts, dim=1)
        roots = torch.stack([one.logsumexp(1) for one in families], dim=1)
        valid = (targets[:, 0] != IGNORE_INDEX).sum().clamp(min=1)
        return {
            **super().forward(prediction, targets),
            "roots": super().total(roots, targets[:, 0]) / valid,
        }


class WritesInPlace(Correct):
    """Shifts the logits in place, which does not change the softmax."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().mean(logits.add_(1), target)


class HalfPrecision(Correct):
    """Computes in the precision of the logits."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.total(logits, target) / (target != IGNORE_INDEX).sum().clamp(min=1)


class LogOfScore(Correct):
    """Computes the logarithm of a softmax."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            logits.softmax(1).log(), target, ignore_index=IGNORE_INDEX, reduction="sum"
        )


class MatrixProduct(Correct):
    """Multiplies matrices, which autocast does in half precision."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        identity = torch.eye(logits.shape[1])
        return super().total(torch.einsum("bchw,cd->bdhw", logits, identity), target)


class Random(Correct):
    """Terms are slightly random."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(logits, target) * (1 + 1e-5 * torch.rand(()))


class DiffersCompiled(Correct):
    """Computes something else when compiled."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(logits, target) * (2 if torch.compiler.is_compiling() else 1)


class TwoLevels(Correct):
    """Assumes that there is a second level."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        assert prediction.logits[1] is not None
        return super().forward(prediction, targets)


class Regions(Correct):
    """Assumes that images are at least 3 x 3 pixels large."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(logits, target) + 0 * F.avg_pool2d(logits, 3).sum()


class EqualSizes(WithEmbedding):
    """Assumes that the embedding is as large as the logits."""

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        assert prediction.embedding is not None
        valid = (targets[:, -1:] != IGNORE_INDEX) * prediction.embedding.float()
        return {**Correct.forward(self, prediction, targets), "length": valid.square().mean()}


@pytest.mark.parametrize(
    ("broken", "properties", "message"),
    [
        (Undocumented, {"arguments_are_documented"}, "'weight', 'gamma'"),
        (LongSummary, {"docstring_starts_with_a_summary"}, "in a summary"),
        (
            UnknownActivation,
            {"attributes_are_valid", "minimizing_it_trains_the_classes"},
            "'soft max'",
        ),
        (BadName, {"terms_are_named_scalars"}, "'Loss/ce_level1'"),
        (HasParameter, {"has_no_parameters_or_state"}, "the parameters scale"),
        (HasState, {"has_no_parameters_or_state"}, "persistent=False"),
        (
            ClaimsAllLevels,
            {"trains_what_its_attributes_name"},
            "levels is 'all', but logits 1 of 3",
        ),
        (UnusedEmbedding, {"trains_what_its_attributes_name"}, "embedding_channels is 3, but"),
        (FirstLogits, {"leaves_only_losses_read_the_last_logits"}, "read `prediction.logits"),
        (
            VoidIsFirstClass,
            {
                "void_pixels_have_no_gradient",
                "void_pixels_do_not_matter",
                "void_batch_is_zero_with_a_graph",
                "partly_known_labels_are_finite",
                "order_of_leaves_does_not_matter",
            },
            "void pixels contribute",
        ),
        (ReadsVoid, {"void_pixels_do_not_matter"}, "for another prediction there"),
        (
            NoClamp,
            {
                "void_batch_is_zero_with_a_graph",
                "partly_known_labels_are_finite",
            },
            "clamp(min=1)",
        ),
        (
            NoGraph,
            {
                "void_batch_is_zero_with_a_graph",
                "partly_known_labels_are_finite",
            },
            "has no graph",
        ),
        (
            Negated,
            {"correct_predictions_cost_less", "minimizing_it_trains_the_classes"},
            "check the sign",
        ),
        (AmongSiblings, {"minimizing_it_trains_the_classes"}, "with the activation 'softmax'"),
        (
            AdjacentSiblings,
            {"correct_predictions_cost_less", "order_of_leaves_does_not_matter"},
            "siblings need not be adjacent",
        ),
        (WritesInPlace, {"inputs_are_not_modified"}, "it modifies the logits"),
        (HalfPrecision, {"extreme_logits_are_finite"}, "start with `logits.float"),
        (LogOfScore, {"extreme_logits_are_finite"}, "log_softmax"),
        (MatrixProduct, {"autocast_does_not_change_the_loss"}, "matrix products lose precision"),
        (Random, {"is_deterministic"}, "seeded by an argument and the progress"),
        (TwoLevels, {"trees_of_every_shape"}, "IndexError"),
        (Regions, {"odd_image_sizes"}, "RuntimeError"),
        (EqualSizes, {"embedding_may_be_smaller"}, "RuntimeError"),
    ],
)
def test_broken_losses(broken: type[Loss], properties: set[str], message: str) -> None:
    attributes = {"least": 0.0} if broken is AdjacentSiblings else {}
    report = check("losses", broken, **attributes)
    assert failed(report) == properties, reasons(report)
    assert message in reasons(report)


def test_compiled_loss_that_differs() -> None:
    assert failed(check("losses", DiffersCompiled, compiled=True)) == {"compiled_matches_eager"}


@pytest.mark.parametrize(
    ("broken", "name", "message"),
    [
        (NotALoss, "attributes_are_valid", "must be a subclass of `hieraseg.Loss`"),
        (PerImage, "terms_are_named_scalars", "must be a scalar, got shape [1]"),
    ],
)
def test_losses_that_break_many_properties(broken: Any, name: str, message: str) -> None:
    report = check("losses", broken)
    assert name in failed(report)
    assert message in reasons(report)


def test_least_loss_of_a_perfect_prediction() -> None:
    class Offset(Correct):
        """Cross-entropy that is positive even for a perfect prediction."""

        def total(self, logits: Tensor, target: Tensor) -> Tensor:
            return super().total(logits, target) + 0.1 * (target != IGNORE_INDEX).sum()

    assert failed(check("losses", Offset)) == set()
    found = failed(check("losses", Offset, least=0.0))
    assert found == {"correct_predictions_cost_less"}
