"""The contract of losses: properties that concern labels, known, partly known and void."""

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
from hieraseg.testing.loss_cases import PROGRESS, SIZE, LossCases, copies, terms_and_gradients


class LossLabelsContract(LossCases):
    """The part of `LossContract` that concerns labels (see there for the attributes)."""

    least: ClassVar[float | None] = None
    margin: ClassVar[float] = 0.0
    steps: ClassVar[int] = 60

    def test_void_pixels_have_no_gradient(self, arguments: Arguments) -> None:
        """The gradient of void pixels is exactly zero, and that of other pixels is not."""
        loss, inputs, targets, generator = self.draw(arguments, 2)
        void = torch.rand(SIZE, generator=generator) < 0.5
        targets = targets.masked_fill(void[:, None], IGNORE_INDEX)
        _, gradients = terms_and_gradients(loss, inputs, targets)
        for gradient in gradients:
            assert gradient.movedim(1, -1)[void].eq(0).all(), _VOID
        assert any(gradient.movedim(1, -1)[~void].ne(0).any() for gradient in gradients), (
            "no pixel has a gradient, so nothing is trained"
        )

    def test_void_pixels_do_not_matter(self, arguments: Arguments) -> None:
        """Terms and gradients do not depend on the prediction at void pixels."""
        loss, inputs, targets, generator = self.draw(arguments, 3)
        void = torch.rand(SIZE, generator=generator) < 0.5
        targets = targets.masked_fill(void[:, None], IGNORE_INDEX)
        others = [torch.where(void[:, None], 9 - z.detach(), z).requires_grad_() for z in inputs]
        terms, gradients = terms_and_gradients(loss, inputs, targets)
        other_terms, other_gradients = terms_and_gradients(self.make(arguments), others, targets)
        differ = difference([*other_terms, *other_gradients], [*terms, *gradients])
        assert not differ, f"{_VOID} (it gives {differ} for another prediction there)"

    def test_pixelwise_losses_are_means_over_pixels(self, arguments: Arguments) -> None:
        """The terms of a pixelwise loss lie between those of two parts of the pixels."""
        loss, inputs, targets, generator = self.draw(arguments, 20)
        if not loss.pixelwise:
            pytest.skip("it does not say that it is a mean over pixels (`pixelwise`)")
        anywhere = torch.rand(SIZE, generator=generator) < 0.3
        whole, _ = terms_and_gradients(loss, inputs, targets)
        for mask in (anywhere, targets[:, -1] % 2 == 0):  # some pixels, and those of some classes
            parts = [targets.masked_fill(one[:, None], IGNORE_INDEX) for one in (mask, ~mask)]
            terms = [terms_and_gradients(loss, inputs, part)[0] for part in parts]
            for term, *of_parts in zip(whole, *terms, strict=True):
                low, high = sorted(map(float, of_parts))
                rounding = 1e-5 * max(abs(low), abs(high), 1)
                assert low - rounding <= float(term) <= high + rounding, (
                    f"pixelwise is true, but a term is {float(term):.6g}, where two parts of the "
                    f"pixels give {low:.6g} and {high:.6g}: divide by the number of valid pixels, "
                    "as `hieraseg.functional.mean_over_valid` does, or do not say that it is"
                )

    def test_void_batch_is_zero_with_a_graph(self, arguments: Arguments) -> None:
        """A batch of only void pixels gives zero, with a graph and gradients of zero."""
        loss, inputs, targets, _ = self.draw(arguments, 4)
        for progress in PROGRESS:
            void = torch.full_like(targets, IGNORE_INDEX)
            terms, gradients = terms_and_gradients(loss, inputs, void, progress)
            for term in terms:
                assert term == 0, (
                    f"a batch of only void pixels gives {term.item()}: divide by the number of "
                    "valid pixels, but at least by 1, as in `valid.sum().clamp(min=1)`"
                )
            assert all(one.eq(0).all() for one in gradients), (
                "a batch of only void pixels has gradients that are not zero, or NaN"
            )

    @pytest.mark.parametrize("progress", PROGRESS)
    @pytest.mark.parametrize("forget", [forget_anywhere, forget_below])
    def test_partly_known_labels_are_finite(
        self, arguments: Arguments, forget: Any, progress: float
    ) -> None:
        """Terms and gradients are finite if labels are known only on some levels."""
        loss, inputs, targets, generator = self.draw(arguments, 6)
        targets = forget(targets, generator)
        terms, gradients = terms_and_gradients(loss, inputs, targets, progress)
        assert finite([*terms, *gradients]), _PARTIAL
        void = (targets == IGNORE_INDEX).all(1)
        assert all(one.movedim(1, -1)[void].eq(0).all() for one in gradients), _VOID
        levels = torch.arange(self.hierarchy.num_levels)
        for level in levels:
            others = (levels != level)[:, None, None]
            one_level = targets.masked_fill(others, IGNORE_INDEX)
            terms, gradients = terms_and_gradients(loss, inputs, one_level, progress)
            assert finite([*terms, *gradients]), _PARTIAL

    def test_correct_predictions_cost_less(self, arguments: Arguments) -> None:
        """A perfect prediction costs less than its opposite, for any order of the labels."""
        # In another order, a loss that assumes adjacent siblings penalizes perfect predictions.
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
            terms, _ = terms_and_gradients(loss, copies(right), targets)
            others, _ = terms_and_gradients(self.make(arguments, hierarchy), copies(wrong), targets)
            assert sum(others) > sum(terms) + self.margin, (
                f"a perfect prediction costs {float(sum(terms)):.6g}, and its opposite "
                f"{float(sum(others)):.6g}: check the sign, and the order of classes on each level"
            )
            if self.least is not None:
                assert all(abs(term - self.least) < 1e-6 for term in terms), (
                    f"the terms of a perfect prediction are {[term.item() for term in terms]}, "
                    f"but must each be {self.least}"
                )

    def test_minimizing_it_trains_the_classes(self) -> None:
        """Minimizing the loss gives correct classes, with the scores of its activation."""
        loss, inputs, targets, _ = self.draw(self.settings[0], 14)
        if loss.levels == "none" or not loss.standalone:
            pytest.skip("it must be combined with another loss")
        trained = copies([0.1 * one for one in inputs])
        optimizer = torch.optim.Adam(trained, lr=0.3)
        for _ in range(self.steps):
            _, gradients = terms_and_gradients(loss, trained, targets)
            for one, gradient in zip(trained, gradients, strict=True):
                one.grad = gradient
            optimizer.step()
        logits = [one.detach() for one in trained[: -1 if loss.embedding_channels else None]]
        scores = level_scores(logits, loss.activation, self.hierarchy)
        for level, class_scores in enumerate(scores):
            right = (class_scores.argmax(1) == targets[:, level]).double().mean().item()
            assert right > 0.9, (
                f"after {self.steps} steps on the logits themselves, {right:.0%} of the pixels "
                f"are correct on level {level + 1} with the activation {loss.activation!r}: does "
                "the activation match the loss? Must the loss be combined with another "
                "(`standalone = False`)?"
            )

    def test_order_of_leaves_does_not_matter(self, arguments: Arguments) -> None:
        """The same tree with its leaves in another order gives the same terms and gradients."""
        order = _shuffle(self.hierarchy)
        shuffled = reordered(self.hierarchy, order)
        loss, inputs, targets, generator = self.draw(arguments, 10)
        if loss.embedding_channels:
            pytest.skip("it trains an embedding, whose pixels may be sampled class by class")
        targets = forget_anywhere(targets, generator)
        leaves, moved_targets = targets[:, -1], targets.clone()
        moved_targets[:, -1] = torch.where(leaves < 0, leaves, order.argsort()[leaves.clamp(min=0)])
        pixels = [torch.arange(1.0, n + 1) for n in self.hierarchy.num_classes]
        moved_loss = self.make(arguments, shuffled, [*pixels[:-1], pixels[-1][order]])
        moved = copies([*inputs[:-1], inputs[-1].detach()[:, order]])
        terms, gradients = terms_and_gradients(loss, inputs, targets)
        moved_terms, moved_gradients = terms_and_gradients(moved_loss, moved, moved_targets)
        expected = [*terms, *gradients[:-1], gradients[-1][:, order]]
        differ = difference([*moved_terms, *moved_gradients], expected)
        assert not differ, (
            f"with the leaves in another order it gives {differ}: read the tree from "
            "`hierarchy.parents` and `hierarchy.paths`, since siblings need not be adjacent"
        )


_VOID = (
    "void pixels contribute: on each level, exclude pixels whose target is -100 "
    "(`hieraseg.IGNORE_INDEX`) from the sum and from the number it is divided by"
)
_PARTIAL = (
    "a term or gradient is not finite if labels are known only on some levels: a level may be "
    "-100 at all pixels, or known where the level above is not"
)


def _shuffle(hierarchy: Hierarchy) -> Tensor:
    """An order of the leaves in which siblings are not adjacent."""
    return torch.randperm(len(hierarchy.paths), generator=torch.Generator().manual_seed(3))
