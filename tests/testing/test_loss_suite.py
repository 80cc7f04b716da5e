"""The suite of losses passes a correct loss, and detects what is wrong with broken ones."""

import inspect
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.functional import ramp
from tests.support.broken import check, failed, reasons


class Correct(Loss):
    """Cross-entropy of every level."""

    pixelwise = True

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
    pixelwise = False  # the length is a mean over all pixels

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


class OfTheBatch(Correct):
    """A sum over the valid pixels, divided by the number of all pixels."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.total(logits.float(), target) / target.numel()


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
            parents = self.hierarchy.on(logits.device).parents[level]
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


class HidesNaN(Correct):
    """Replaces NaN."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(logits.nan_to_num(), target)


class MatrixProduct(Correct):
    """Multiplies matrices, which autocast does in half precision."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        identity = torch.eye(logits.shape[1], device=logits.device)
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
                "pixelwise_losses_are_means_over_pixels",
            },
            "void pixels contribute",
        ),
        (OfTheBatch, {"pixelwise_losses_are_means_over_pixels"}, "or do not say that it is"),
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
                "can_be_captured",
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
        (HidesNaN, {"nan_is_not_hidden"}, "do not replace NaN"),
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


class ReadsValue(Correct):
    """Reads the number of valid pixels."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        valid = max(int((target != IGNORE_INDEX).sum()), 1)
        return self.total(logits.float(), target) / valid


class SelectsPixels(Correct):
    """Selects the valid pixels."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        valid = target != IGNORE_INDEX
        return F.cross_entropy(logits.movedim(1, -1)[valid], target[valid], reduction="sum")


class FillsPixels(Correct):
    """Writes a tensor where a mask is set, which is no `masked_fill`."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        shift = torch.zeros_like(logits)
        shift[:, 0][target == IGNORE_INDEX] = logits.new_zeros(())
        return super().total(logits + shift, target)


class MakesTable(Correct):
    """Makes a table of weights in each call."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        weight = torch.tensor([1.0] * logits.shape[1], device=logits.device)
        return super().total(logits * weight[:, None, None], target)


class OnTheHost(Correct):
    """Keeps a table on the CPU."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)
        self.shift = torch.zeros(1, 1, 1)

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(logits + self.shift, target)


class CountsCalls(Correct):
    """Counts its calls in Python."""

    calls = 0

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return super().forward(prediction, targets)


class KeepsList(Correct):
    """Keeps a list of its calls."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)
        self.levels_seen: list[int] = []

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        self.levels_seen.append(len(prediction.logits))
        return super().forward(prediction, targets)


class CountsInDict(Correct):
    """Counts its calls in a dictionary."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)
        self.counts = {"calls": [0]}

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        self.counts["calls"][0] += 1
        return super().forward(prediction, targets)


class CountsInClass(Correct):
    """Counts the calls of all objects."""

    calls = 0

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        type(self).calls += 1
        return super().forward(prediction, targets)


class CountsInTensor(Correct):
    """Counts its calls in a tensor of the CPU."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)
        self.calls = torch.zeros(())

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return super().forward(prediction, targets)


class ReplacesBuffer(Correct):
    """Replaces a buffer in each call."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        self.seen = self.seen + 1
        return super().forward(prediction, targets)


class Backwards(torch.autograd.Function):
    """Reads a value in its backward pass."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient if gradient.abs().sum().item() >= 0 else -gradient


class ReadsGradient(Correct):
    """Reads a value in its backward pass."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().total(Backwards.apply(logits), target)


class NoReason(ReadsValue):
    """Says that it reads values, but not that it does."""

    capturable = False


class Prints(Correct):
    """Does in Python what the compiler cannot trace."""

    def total(self, logits: Tensor, target: Tensor) -> Tensor:
        print("total", end="\r")
        return super().total(logits, target)


class Timed(Correct):
    """Depends on the progress of training."""

    def forward(  # type: ignore[override]
        self, prediction: Prediction, targets: Tensor, progress: Any
    ) -> dict[str, Tensor]:
        share = self.share(progress)
        return {key: share * term for key, term in super().forward(prediction, targets).items()}

    def share(self, progress: Any) -> Any:
        return 1 + ramp(progress, 0.0, 0.5)


class NeedsFloat(Timed):
    """Expects a float."""

    def share(self, progress: Any) -> Any:
        return 2 - math.cos(progress)


class NeedsTensor(Timed):
    """Expects a tensor."""

    def share(self, progress: Any) -> Any:
        return progress.clamp(min=0.5)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (ReadsValue, "it reads a value back from the device: keep it a tensor"),
        (ReadsGradient, "it reads a value back from the device: keep it a tensor"),
        (SelectsPixels, "a tensor whose shape depends on the data (`x[mask]`): keep all pixels"),
        (FillsPixels, "a tensor whose shape depends on the data (`x[mask]`): keep all pixels"),
        (MakesTable, "it copies a tensor from cpu to cuda: make tables in `__init__`"),
        (OnTheHost, "on CUDA it uses tensors of two devices: register those"),
        (CountsCalls, "it changes its attribute `calls` from call to call"),
        (KeepsList, "it changes its attribute `levels_seen` from call to call"),
        (CountsInTensor, "it changes its attribute `calls` from call to call"),
        (CountsInDict, "it changes its attribute `counts['calls'][0]` from call to call"),
        (CountsInClass, "it changes its attribute `calls` from call to call"),
        (ReplacesBuffer, "it changes its attribute `seen` from call to call"),
        (NoReason, "capturable is false, but no reason is given"),
        (NeedsFloat, "it reads a value back from the device: keep it a tensor"),
    ],
)
def test_losses_that_cannot_be_captured(broken: type[Loss], message: str) -> None:
    report = check("losses", broken)
    assert failed(report) == {"can_be_captured"}, reasons(report)
    assert message in reasons(report)
    (found,) = (one for one in report.properties if one.outcome == "failed")
    if broken is ReadsValue:
        line = inspect.getsourcelines(ReadsValue.mean)[1] + 1
        assert found.cases[0].place == f"{__file__}:{line}"


def test_a_loss_that_says_that_it_cannot_be_captured() -> None:
    class Says(SelectsPixels):
        """Selects the valid pixels."""

        capturable, capturable_reason = False, "selects the valid pixels"

    report = check("losses", Says, compiled=True)
    assert failed(report) == set(), reasons(report)
    assert "it says that it cannot: selects the valid pixels" in reasons(report)


def test_progress() -> None:
    assert failed(check("losses", Timed)) == set()
    report = check("losses", NeedsTensor)
    assert failed(report) == {"progress_may_be_a_float"}
    assert "'float' object has no attribute 'clamp'" in reasons(report)


def test_a_loss_that_cannot_be_traced() -> None:
    report = check("losses", Prints, compiled=True)
    assert failed(report) == {"compiled_matches_eager"}, reasons(report)
    assert "torch.compile cannot trace it in one piece" in reasons(report)


@pytest.mark.parametrize(
    ("broken", "name", "message"),
    [
        (NotALoss, "attributes_are_valid", "is of type NotALoss, not hieraseg's Loss"),
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
