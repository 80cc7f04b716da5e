"""What every inference rule has to offer."""

from typing import ClassVar, get_args

import pytest
import torch
from torch import Tensor

from hieraseg.contracts import Activation, InferenceRule
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.scores import level_scores
from hieraseg.testing.cases import Size, random_logits
from hieraseg.testing.component import DEFAULTS, Arguments, TreeContract

SIZE = (2, 5, 7)


class InferenceContract(TreeContract):
    """What every inference rule has to offer (see `contracts.InferenceRule`).

    Attributes:
        coherent: whether every answer is a path of the tree, which is checked then.
    """

    coherent: ClassVar[bool] = False

    def make(
        self, arguments: Arguments = DEFAULTS, hierarchy: Hierarchy | None = None
    ) -> InferenceRule:
        """The rule, on the main tree where no other is given."""
        rule: InferenceRule = self.build(arguments, hierarchy=hierarchy or self.hierarchy)
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

    def check(self, answer: Tensor, hierarchy: Hierarchy, size: Size = SIZE) -> None:
        """Asserts that an answer has one class per level and pixel."""
        assert isinstance(answer, Tensor), f"it answers a {type(answer).__name__}: give a tensor"
        shape = (size[0], hierarchy.num_levels, *size[1:])
        assert answer.shape == shape, (
            f"its answer is {list(answer.shape)}: give [B, L, H, W], here {list(shape)}"
        )
        assert answer.dtype == torch.int64, f"its answer is {answer.dtype}: give int64"
        for level, classes in enumerate(hierarchy.num_classes):
            lowest, highest = answer[:, level].aminmax()
            assert 0 <= lowest <= highest < classes, (
                f"it answers classes {lowest} to {highest} on level {level + 1}, which has "
                f"classes 0 to {classes - 1}"
            )
        if self.coherent:
            for level in range(1, hierarchy.num_levels):
                above = hierarchy.parents[level][answer[:, level]]
                assert torch.equal(above, answer[:, level - 1]), (
                    f"it says that it is coherent, but answers classes on level {level + 1} "
                    f"whose parents it does not answer on level {level}"
                )

    @pytest.mark.parametrize("activation", get_args(Activation))
    def test_one_class_per_level_of_any_scores(
        self, arguments: Arguments, activation: Activation
    ) -> None:
        """It answers one class of each level per pixel, whatever the loss made scores by."""
        answer = self.make(arguments)(self.scores(activation=activation))
        self.check(answer, self.hierarchy)

    def test_trees_of_every_shape(self, tree: Hierarchy) -> None:
        """It answers one class of each level on trees of every shape."""
        rule = self.make(self.settings[0], tree)
        self.check(rule(self.scores(tree)), tree)
        self.check(rule(self.scores(tree, size=(1, 1, 1))), tree, (1, 1, 1))

    def test_sure_scores_are_followed(self, arguments: Arguments) -> None:
        """Where the scores of every level are sure of one path, it answers that path."""
        leaves = torch.randint(
            len(self.hierarchy.paths), SIZE, generator=torch.Generator().manual_seed(1)
        )
        path = self.hierarchy.paths[leaves].movedim(-1, 1)
        scores = [
            torch.nn.functional.one_hot(path[:, level], classes).movedim(-1, 1).float()
            for level, classes in enumerate(self.hierarchy.num_classes)
        ]
        answer = self.make(arguments)(scores)
        share = (answer == path).double().mean().item()
        assert share == 1, (
            f"of pixels whose scores are 1 on one path and 0 elsewhere, {share:.0%} get its "
            "classes: does it take another class for each index than the hierarchy?"
        )

    def test_ties_are_settled_alike(self, arguments: Arguments) -> None:
        """Equal scores give the same answer at every pixel and each time."""
        rule = self.make(arguments)
        for value in (0.0, 0.25, 1.0):
            scores = [torch.full_like(level, value) for level in self.scores()]
            answer = rule(scores)
            self.check(answer, self.hierarchy)
            first = answer[:1, :, :1, :1].expand_as(answer)
            assert torch.equal(answer, first), f"scores of {value} get several answers"
            assert torch.equal(rule(scores), answer), f"scores of {value} get another next time"

    def test_images_of_a_batch_do_not_affect_each_other(self, arguments: Arguments) -> None:
        """An image's answer does not depend on the others of its batch."""
        rule, scores = self.make(arguments), self.scores()
        alone = rule([level[1:] for level in scores])
        assert torch.equal(alone, rule(scores)[1:]), (
            "an image gets another answer without the others of its batch"
        )

    def test_scores_are_not_changed(self, arguments: Arguments) -> None:
        """It does not change the scores that it is given."""
        scores = self.scores()
        before = [level.clone() for level in scores]
        self.make(arguments)(scores)
        assert all(map(torch.equal, before, scores)), (
            "it changes the scores it is given: clone before writing in place"
        )

    def test_cuda_gives_the_same(self, arguments: Arguments, device: str) -> None:
        """On CUDA it answers there, and the same as on the CPU."""
        rule, scores = self.make(arguments), self.scores()
        answer = rule([level.to(device) for level in scores])
        assert answer.device.type == device, f"scores on {device} get an answer on {answer.device}"
        assert torch.equal(answer.cpu(), rule(scores)), "on CUDA it answers something else"
