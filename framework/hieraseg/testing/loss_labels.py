"""What every loss has to make of labels."""

from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.inference.scores import level_scores
from hieraseg.testing.cases import forget_anywhere, forget_below, reordered
from hieraseg.testing.comparing import difference, finite
from hieraseg.testing.component import Arguments
from hieraseg.testing.loss_cases import PROGRESS, SIZE, LossCases, answer, copies


class LossLabelsContract(LossCases):
    """The part of `LossContract` that is about labels, known and not.

    Attributes: see `LossContract`.
    """

    least: ClassVar[float | None] = None
    margin: ClassVar[float] = 0.0
    steps: ClassVar[int] = 60

    def test_void_pixels_have_exactly_no_gradient(self, arguments: Arguments) -> None:
        """A void pixel has a gradient of exactly zero, and other pixels have one."""
        loss, inputs, targets, generator = self.draw(arguments, 2)
        void = torch.rand(SIZE, generator=generator) < 0.5
        targets = targets.masked_fill(void[:, None], IGNORE_INDEX)
        _, gradients = answer(loss, inputs, targets)
        for gradient in gradients:
            assert gradient.movedim(1, -1)[void].eq(0).all(), _VOID
        assert any(gradient.movedim(1, -1)[~void].ne(0).any() for gradient in gradients), (
            "no pixel at all has a gradient: nothing is learnt"
        )

    def test_what_is_said_of_void_pixels_does_not_matter(self, arguments: Arguments) -> None:
        """What a prediction says of void pixels changes neither the terms nor the gradients."""
        loss, inputs, targets, generator = self.draw(arguments, 3)
        void = torch.rand(SIZE, generator=generator) < 0.5
        targets = targets.masked_fill(void[:, None], IGNORE_INDEX)
        others = [torch.where(void[:, None], 9 - z.detach(), z).requires_grad_() for z in inputs]
        terms, gradients = answer(loss, inputs, targets)
        other_terms, other_gradients = answer(self.make(arguments), others, targets)
        differ = difference([*other_terms, *other_gradients], [*terms, *gradients])
        assert not differ, f"{_VOID} (it gives {differ} where they say something else)"

    def test_an_all_void_batch_gives_zero_with_a_graph(self, arguments: Arguments) -> None:
        """A batch of void pixels alone gives zero, with a graph and gradients of zero."""
        loss, inputs, targets, _ = self.draw(arguments, 4)
        for progress in PROGRESS:
            void = torch.full_like(targets, IGNORE_INDEX)
            terms, gradients = answer(loss, inputs, void, progress)
            for term in terms:
                assert term == 0, (
                    f"an all-void batch gives {term.item()}: divide by the number of valid "
                    "pixels, but by 1 at least, as in `valid.sum().clamp(min=1)`"
                )
            assert all(one.eq(0).all() for one in gradients), (
                "an all-void batch has gradients that are not zero, or NaN"
            )

    @pytest.mark.parametrize("progress", PROGRESS)
    @pytest.mark.parametrize("forget", [forget_anywhere, forget_below])
    def test_labels_may_be_known_on_some_levels_only(
        self, arguments: Arguments, forget: Any, progress: float
    ) -> None:
        """Labels that are known on some levels only give finite terms and gradients."""
        loss, inputs, targets, generator = self.draw(arguments, 6)
        targets = forget(targets, generator)
        terms, gradients = answer(loss, inputs, targets, progress)
        assert finite([*terms, *gradients]), _PARTIAL
        void = (targets == IGNORE_INDEX).all(1)
        assert all(one.movedim(1, -1)[void].eq(0).all() for one in gradients), _VOID
        levels = torch.arange(self.hierarchy.num_levels)
        for level in levels:
            unknown = (levels != level)[:, None, None]
            alone = targets.masked_fill(unknown, IGNORE_INDEX)
            terms, gradients = answer(loss, inputs, alone, progress)
            assert finite([*terms, *gradients]), _PARTIAL

    def test_a_right_answer_costs_less_than_a_wrong_one(self, arguments: Arguments) -> None:
        """A perfect prediction costs less than its opposite, whatever the order of labels is."""
        # Where the groups are another label order's, a perfect prediction still pays.
        order = _shuffle(self.hierarchy)
        for hierarchy in (self.hierarchy, reordered(self.hierarchy, order)):
            pixels = torch.arange(len(hierarchy.paths)).view(1, 1, -1).repeat(1, 9, 2)
            targets = hierarchy.paths[pixels].movedim(-1, 1)
            loss = self.make(arguments, hierarchy)
            if loss.levels == "none":
                pytest.skip("it trains no logits")
            right = [
                40.0 * F.one_hot(targets[:, level], classes).movedim(-1, 1) - 20.0
                for level, classes in enumerate(hierarchy.num_classes)
            ][-1 if loss.levels == "leaves" else 0 :]
            wrong = [-logits for logits in right]
            if loss.embedding_channels:
                embedding = torch.ones(1, loss.embedding_channels, *pixels.shape[1:])
                right, wrong = [*right, embedding], [*wrong, embedding]
            terms, _ = answer(loss, copies(right), targets)
            others, _ = answer(self.make(arguments, hierarchy), copies(wrong), targets)
            assert sum(others) > sum(terms) + self.margin, (
                f"a perfect prediction costs {float(sum(terms)):.6g}, its opposite "
                f"{float(sum(others)):.6g}: is a sign wrong, or does it take another class "
                "for each index than the hierarchy?"
            )
            if self.least is not None:
                assert all(abs(term - self.least) < 1e-6 for term in terms), (
                    f"a perfect prediction costs {[term.item() for term in terms]}, "
                    f"not {self.least} each"
                )

    def test_minimising_it_teaches_the_classes(self) -> None:
        """Minimising it makes the classes right, as its activation reads them."""
        loss, inputs, targets, _ = self.draw(self.settings[0], 14)
        if loss.levels == "none" or not loss.standalone:
            pytest.skip("it needs another loss beside it")
        learnt = copies([0.1 * one for one in inputs])
        optimizer = torch.optim.Adam(learnt, lr=0.3)
        for _ in range(self.steps):
            _, gradients = answer(loss, learnt, targets)
            for one, gradient in zip(learnt, gradients, strict=True):
                one.grad = gradient
            optimizer.step()
        logits = [one.detach() for one in learnt[: -1 if loss.embedding_channels else None]]
        scores = level_scores(logits, loss.activation, self.hierarchy)
        for level, of_classes in enumerate(scores):
            right = (of_classes.argmax(1) == targets[:, level]).double().mean().item()
            assert right > 0.9, (
                f"after {self.steps} steps on the logits themselves, {right:.0%} of the pixels "
                f"are right on level {level + 1}, read by the activation {loss.activation!r}: "
                "is that how the loss makes scores of logits, or does it need another beside it?"
            )

    def test_the_order_of_leaves_does_not_matter(self, arguments: Arguments) -> None:
        """The same tree with its leaves in another order gives the same terms and gradients."""
        order = _shuffle(self.hierarchy)
        shuffled = reordered(self.hierarchy, order)
        loss, inputs, targets, generator = self.draw(arguments, 10)
        if loss.embedding_channels:
            pytest.skip("it trains an embedding, whose pixels may be drawn class by class")
        targets = forget_anywhere(targets, generator)
        leaves, moved_targets = targets[:, -1], targets.clone()
        moved_targets[:, -1] = torch.where(leaves < 0, leaves, order.argsort()[leaves.clamp(min=0)])
        pixels = [torch.arange(1.0, n + 1) for n in self.hierarchy.num_classes]
        moved_loss = self.make(arguments, shuffled, [*pixels[:-1], pixels[-1][order]])
        moved = copies([*inputs[:-1], inputs[-1].detach()[:, order]])
        terms, gradients = answer(loss, inputs, targets)
        moved_terms, moved_gradients = answer(moved_loss, moved, moved_targets)
        expected = [*terms, *gradients[:-1], gradients[-1][:, order]]
        differ = difference([*moved_terms, *moved_gradients], expected)
        assert not differ, (
            f"with the leaves in another order it gives {differ}: take the tree from "
            "`hierarchy.parents` and `hierarchy.paths`, as siblings need not stand side by side"
        )


_VOID = (
    "void pixels take part: leave out those whose target is -100 (`hieraseg.IGNORE_INDEX`) on "
    "that level, from the sum and from what it is divided by"
)
_PARTIAL = (
    "a term or gradient is not finite where labels are known on some levels only: a level may "
    "be -100 on all pixels, or known where the one above it is not"
)


def _shuffle(hierarchy: Hierarchy) -> Tensor:
    """An order of the leaves that takes siblings apart."""
    return torch.randperm(len(hierarchy.paths), generator=torch.Generator().manual_seed(3))
