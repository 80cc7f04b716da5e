"""The contract of inference rules."""

from typing import Any, ClassVar, get_args

import pytest
import torch
from torch import Tensor

from hieraseg.contracts import Activation, InferenceRule
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.scores import level_scores
from hieraseg.testing.capturing import assert_capturable
from hieraseg.testing.cases import Size, random_logits
from hieraseg.testing.component import DEFAULTS, Arguments, CapturableContract, TreeContract

SIZE = (2, 5, 7)


class InferenceContract(TreeContract, CapturableContract):
    """The contract of inference rules (see `contracts.InferenceRule`).

    Attributes:
        coherent: whether every prediction is a path of the tree. If true, this is checked.
    """

    coherent: ClassVar[bool] = False

    def supplied(self, hierarchy: Hierarchy | None = None) -> dict[str, Any]:
        """Arguments that the runner supplies, by default for the main tree."""
        return {"hierarchy": hierarchy or self.hierarchy}

    def make(
        self, arguments: Arguments = DEFAULTS, hierarchy: Hierarchy | None = None
    ) -> InferenceRule:
        """Build the rule, by default for the main tree."""
        rule: InferenceRule = self.build(arguments, **self.supplied(hierarchy))
        return rule

    def scores(
        self,
        hierarchy: Hierarchy | None = None,
        activation: Activation = "softmax",
        size: Size = SIZE,
    ) -> list[Tensor]:
        """Scores of random logits."""
        hierarchy = hierarchy or self.hierarchy
        logits = random_logits(hierarchy, size, torch.Generator().manual_seed(0))
        return level_scores([level.detach() for level in logits], activation, hierarchy)

    def assert_capturable(self, arguments: Arguments) -> None:
        def predict(rule: InferenceRule, scores: list[Tensor]) -> list[Tensor]:
            return [rule(scores)]

        assert_capturable(self.make(arguments), predict, self.scores())

    def check(self, predicted: Tensor, hierarchy: Hierarchy, size: Size = SIZE) -> None:
        """Assert that a prediction has one valid class per level and pixel."""
        assert isinstance(predicted, Tensor), (
            f"it must return a tensor, got {type(predicted).__name__}"
        )
        shape = (size[0], hierarchy.num_levels, *size[1:])
        assert predicted.shape == shape, (
            f"it must return [B, L, H, W], here {list(shape)}, got {list(predicted.shape)}"
        )
        assert predicted.dtype == torch.int64, f"it must return int64, got {predicted.dtype}"
        for level, classes in enumerate(hierarchy.num_classes):
            lowest, highest = predicted[:, level].aminmax()
            assert 0 <= lowest <= highest < classes, (
                f"it returns classes {lowest} to {highest} on level {level + 1}, which has "
                f"classes 0 to {classes - 1}"
            )
        if self.coherent:
            for level in range(1, hierarchy.num_levels):
                above = hierarchy.parents[level][predicted[:, level]]
                assert torch.equal(above, predicted[:, level - 1]), (
                    f"coherent is true, but classes on level {level + 1} are not children of the "
                    f"predicted classes on level {level}"
                )

    @pytest.mark.parametrize("activation", get_args(Activation))
    def test_predictions_are_valid(self, arguments: Arguments, activation: Activation) -> None:
        """It predicts one class per level and pixel, for scores of every activation."""
        predicted = self.make(arguments)(self.scores(activation=activation))
        self.check(predicted, self.hierarchy)

    def test_trees_of_every_shape(self, tree: Hierarchy) -> None:
        """It predicts one class per level and pixel on trees of every shape."""
        rule = self.make(self.settings[0], tree)
        self.check(rule(self.scores(tree)), tree)
        self.check(rule(self.scores(tree, size=(1, 1, 1))), tree, (1, 1, 1))

    def test_certain_scores_are_followed(self, arguments: Arguments) -> None:
        """If all scores are 1 on one path and 0 elsewhere, it predicts that path."""
        leaves = torch.randint(
            len(self.hierarchy.paths), SIZE, generator=torch.Generator().manual_seed(1)
        )
        path = self.hierarchy.paths[leaves].movedim(-1, 1)
        scores = [
            torch.nn.functional.one_hot(path[:, level], classes).movedim(-1, 1).float()
            for level, classes in enumerate(self.hierarchy.num_classes)
        ]
        predicted = self.make(arguments)(scores)
        share = (predicted == path).double().mean().item()
        assert share == 1, (
            f"of scores that are 1 on one path and 0 elsewhere, {share:.0%} are predicted as that "
            "path: check the order of classes on each level"
        )

    def test_ties_are_deterministic(self, arguments: Arguments) -> None:
        """Equal scores give the same prediction at every pixel and in every call."""
        rule = self.make(arguments)
        for value in (0.0, 0.25, 1.0):
            scores = [torch.full_like(level, value) for level in self.scores()]
            predicted = rule(scores)
            self.check(predicted, self.hierarchy)
            first = predicted[:1, :, :1, :1].expand_as(predicted)
            assert torch.equal(predicted, first), (
                f"scores of {value} give different predictions at different pixels"
            )
            assert torch.equal(rule(scores), predicted), (
                f"scores of {value} give another prediction in the next call"
            )

    def test_images_in_a_batch_are_independent(self, arguments: Arguments) -> None:
        """The prediction of an image does not depend on the other images in the batch."""
        rule, scores = self.make(arguments), self.scores()
        single = rule([level[1:] for level in scores])
        assert torch.equal(single, rule(scores)[1:]), (
            "an image has another prediction without the other images in its batch"
        )

    def test_scores_are_not_modified(self, arguments: Arguments) -> None:
        """It does not modify the scores."""
        scores = self.scores()
        before = [level.clone() for level in scores]
        self.make(arguments)(scores)
        assert all(map(torch.equal, before, scores)), (
            "it modifies the scores: clone them before writing in place"
        )

    def test_cuda_matches_cpu(self, arguments: Arguments, device: str) -> None:
        """On CUDA it gives the same prediction as on the CPU, on the device of the scores."""
        rule, scores = self.make(arguments), self.scores()
        predicted = rule([level.to(device) for level in scores])
        assert predicted.device.type == device, (
            f"scores on {device} give a prediction on {predicted.device}"
        )
        assert torch.equal(predicted.cpu(), rule(scores)), "on CUDA the prediction differs"
