"""What every loss has to offer."""

from typing import get_args

import pytest
import torch

from hieraseg.contracts import Activation
from hieraseg.hierarchy import Hierarchy
from hieraseg.testing.cases import Size, forget_anywhere, random_logits
from hieraseg.testing.comparing import difference, finite
from hieraseg.testing.component import Arguments
from hieraseg.testing.loss_cases import SIZE, answer, copies, terms_of
from hieraseg.testing.loss_labels import LossLabelsContract

LEVELS = ("all", "leaves", "none")


class LossContract(LossLabelsContract):
    """What every loss has to offer (see `contracts.Loss`).

    A loss that cannot have one of the properties overrides that test, with the reason.

    Attributes:
        least: what a perfect prediction costs, for a loss that has such a number; not checked
            where it is None, as for a loss with label smoothing.
        margin: by how much a wrong prediction has to cost more than a perfect one.
        steps: how many steps of Adam on the logits themselves have to be enough to learn.
    """

    # What it says of itself.

    def test_it_says_what_it_needs_in_known_words(self, arguments: Arguments) -> None:
        """It is a `Loss` whose levels, activation and embedding channels are known words."""
        loss = self.make(arguments)
        assert loss.levels in LEVELS, f"levels is {loss.levels!r}: make it one of {LEVELS}"
        activations = get_args(Activation)
        assert loss.activation in activations, (
            f"activation is {loss.activation!r}: make it one of {activations}"
        )
        channels = loss.embedding_channels
        assert isinstance(channels, int), f"embedding_channels is {channels!r}: make it an int"
        assert channels >= 0, f"embedding_channels is {channels}: make it 0 for no embedding"
        assert channels or loss.levels != "none", (
            'levels is "none", but embedding_channels is 0, so it trains nothing'
        )

    def test_terms_are_named_scalars(self, arguments: Arguments) -> None:
        """Its terms are finite float32 scalars, each under an identifier in lower case."""
        loss, inputs, targets, _ = self.draw(arguments, 0)
        for name, term in terms_of(loss, [one.clone() for one in inputs], targets).items():
            assert isinstance(name, str), f"a term is called {name!r}: name it by a text"
            plain = name.isidentifier() and name == name.lower()
            assert plain, (
                f"a term is called {name!r}: curves and tables need lower case letters, digits "
                "and underscores"
            )
            assert term.shape == (), f"the term {name!r} has shape {list(term.shape)}: reduce it"
            assert term.dtype == torch.float32, (
                f"the term {name!r} is {term.dtype}: compute in float32, from `logits.float()`"
            )
            assert term.isfinite(), f"the term {name!r} is {term.item()} for ordinary logits"

    def test_nothing_is_learnt_but_the_model(self, arguments: Arguments) -> None:
        """It has no parameters, and no state that a checkpoint would have to hold."""
        loss = self.make(arguments)
        learnt = [name for name, _ in loss.named_parameters()]
        assert not learnt, (
            f"it has the parameters {', '.join(learnt)}, which no optimizer is given: make them "
            "buffers, or part of a decoder"
        )
        kept = list(loss.state_dict())
        assert not kept, (
            f"it has the buffers {', '.join(kept)}, which no checkpoint holds: register them "
            "with persistent=False"
        )

    def test_it_trains_what_it_says_it_needs(self) -> None:
        """All logits that `levels` names get a gradient, and so does an embedding."""
        loss, inputs, targets, _ = self.draw(self.settings[0], 1)
        _, gradients = answer(loss, inputs, targets)
        if loss.embedding_channels:
            assert gradients.pop().any(), (
                f"embedding_channels is {loss.embedding_channels}, but the embedding gets no "
                "gradient: set it to 0, or train the embedding"
            )
        if loss.levels == "none":
            assert not any(one.any() for one in gradients), (
                'levels is "none", but it trains logits: say "leaves" or "all"'
            )
            return
        for level, gradient in enumerate(gradients, 1):
            assert gradient.any(), (
                f"levels is {loss.levels!r}, but logits {level} of {len(gradients)} get no "
                "gradient: the decoder builds a head that nothing trains"
            )

    def test_a_loss_of_the_leaves_needs_no_other_logits(self, arguments: Arguments) -> None:
        """A loss of the leaves answers alike with theirs alone and within those of all levels."""
        loss, inputs, targets, generator = self.draw(arguments, 1)
        if loss.levels == "all":
            pytest.skip("it trains all levels")
        coarser = random_logits(self.hierarchy, SIZE, generator)[:-1]
        alone, _ = answer(loss, inputs, targets)
        among, gradients = answer(self.make(arguments), [*coarser, *inputs], targets)
        differ = difference(among, alone)
        assert not differ, (
            f"it gives {differ} where all levels' logits are there, as a sum of losses may have "
            "them: read `prediction.logits[-1]`"
        )
        assert not any(one.any() for one in gradients[: len(coarser)]), (
            f"levels is {loss.levels!r}, but it trains logits of coarser levels: read "
            '`prediction.logits[-1]` alone, or say "all"'
        )

    # What it computes with.

    def test_inputs_are_not_changed(self, arguments: Arguments) -> None:
        """It does not change the logits, embedding and targets that it is given."""
        loss, inputs, targets, generator = self.draw(arguments, 5)
        targets = forget_anywhere(targets, generator)
        given = [one.detach() for one in inputs]  # the same memory
        before = [one.clone() for one in (*given, targets)]
        # Without a graph, where autograd would not object to it.
        with torch.no_grad():
            terms_of(loss, given, targets)
        names = [*["logits"] * len(given), "targets"]
        if loss.embedding_channels:
            names[-2] = "embedding"
        for name, one, other in zip(names, before, (*given, targets), strict=True):
            assert torch.equal(one, other), (
                f"loss changes the {name} it is given: clone before writing in place"
            )
        answer(loss, inputs, targets)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_extreme_logits_give_finite_losses_and_gradients(
        self, arguments: Arguments, dtype: torch.dtype
    ) -> None:
        """Logits up to 10,000, in half precision too, give finite float32 terms and gradients."""
        loss, inputs, targets, generator = self.draw(arguments, 7)
        targets = forget_anywhere(targets, generator)
        for spread in (0.0, 1.0, 200.0, 1e4):
            extreme = copies([one.detach().clamp(-1, 1).mul(spread).to(dtype) for one in inputs])
            terms, gradients = answer(loss, extreme, targets)
            where = f"for logits up to {spread:g} in {dtype}"
            for term in terms:
                assert term.dtype == torch.float32, (
                    f"a term is {term.dtype} {where}: begin with `logits.float()`"
                )
                assert term.isfinite(), (
                    f"a term is {term.item()} {where}: compute from logits, by log_softmax, "
                    "logsigmoid or softplus, not from the log of a score"
                )
            assert finite(gradients), (
                f"gradients are not finite {where}: no square root, log or division may have "
                "an infinite slope there, not even in a branch that torch.where leaves out"
            )

    def test_autocast_does_not_change_the_loss(self, arguments: Arguments) -> None:
        """Under autocast it computes in float32 all the same."""
        loss, inputs, targets, generator = self.draw(arguments, 8)
        targets = forget_anywhere(targets, generator)
        expected, slopes = answer(loss, inputs, targets)
        with torch.autocast("cpu", torch.bfloat16):
            terms, gradients = answer(self.make(arguments), inputs, targets)
        differ = difference([*terms, *gradients], [*expected, *slopes])
        assert not differ, (
            f"under autocast it gives {differ}: matrix products lose precision there, so keep "
            "them within `torch.autocast(device_type, enabled=False)`"
        )

    def test_the_same_again_gives_the_same(self, arguments: Arguments) -> None:
        """The same inputs give the same answer, whatever the global random numbers are."""
        loss, inputs, targets, _ = self.draw(arguments, 9)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            terms, gradients = answer(loss, inputs, targets)
            torch.manual_seed(2)
            again, slopes = answer(self.make(arguments), inputs, targets)
        differ = difference([*again, *slopes], [*terms, *gradients], rtol=0, atol=0)
        assert not differ, (
            f"the same inputs give {differ} the second time: draw from a torch.Generator that "
            "is seeded by an argument and the progress"
        )

    def test_torch_compile_gives_the_same(self) -> None:
        """Compiled by torch.compile, it gives the same terms and gradients."""
        loss, inputs, targets, generator = self.draw(self.settings[0], 12)
        targets = forget_anywhere(targets, generator)
        expected, slopes = answer(loss, inputs, targets)
        torch.compiler.reset()
        compiled = self.make(self.settings[0])
        compiled.compile(backend="eager")
        terms, gradients = answer(compiled, inputs, targets)
        differ = difference([*terms, *gradients], [*expected, *slopes])
        assert not differ, f"compiled by torch.compile it gives {differ}"

    def test_cuda_gives_the_same(self, arguments: Arguments, device: str) -> None:
        """On CUDA it gives the same as on the CPU."""
        loss, inputs, targets, generator = self.draw(arguments, 13, (2, 30, 40))
        targets = forget_anywhere(targets, generator)
        expected, slopes = answer(loss, inputs, targets)
        moved = [one.detach().to(device).requires_grad_() for one in inputs]
        there = self.make(arguments).to(device)
        terms, gradients = answer(there, moved, targets.to(device))
        differ = difference([*terms, *gradients], [*expected, *slopes])
        assert not differ, f"on CUDA it gives {differ}"

    # Trees and sizes.

    def test_trees_of_every_shape(self, tree: Hierarchy) -> None:
        """Trees of every shape give finite terms and gradients, from one class to six levels."""
        loss, inputs, targets, generator = self.draw(self.settings[0], 11, hierarchy=tree)
        terms, gradients = answer(loss, inputs, forget_anywhere(targets, generator))
        assert finite([*terms, *gradients]), "a term or gradient is not finite on this tree"

    @pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 1), (1, 16, 7)], ids=str)
    def test_images_of_odd_sizes(self, arguments: Arguments, size: Size) -> None:
        """Images of any size give finite terms and gradients, down to a single pixel."""
        loss, inputs, targets, _ = self.draw(arguments, 15, size)
        terms, gradients = answer(loss, inputs, targets)
        assert finite([*terms, *gradients]), "a term or gradient is not finite at this size"

    def test_an_embedding_may_be_smaller(self, arguments: Arguments) -> None:
        """The embedding may be smaller than the logits."""
        loss, inputs, targets, _ = self.draw(arguments, 16)
        if not loss.embedding_channels:
            pytest.skip("it trains no embedding")
        inputs[-1] = inputs[-1].detach()[:, :, ::2, ::2].contiguous().requires_grad_()
        terms, gradients = answer(loss, inputs, targets)
        assert finite([*terms, *gradients]), "a term or gradient is not finite"
