"""The contract of losses."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from hieraseg.contracts import Activation, Loss, has_argument
from hieraseg.hierarchy import Hierarchy
from hieraseg.testing.capturing import assert_capturable, in_one_piece
from hieraseg.testing.cases import Size, forget_anywhere, random_logits
from hieraseg.testing.comparing import difference, finite
from hieraseg.testing.component import Arguments, CapturableContract
from hieraseg.testing.loss_cases import PROGRESS, SIZE, copies, terms_and_gradients, terms_of
from hieraseg.testing.loss_labels import LossLabelsContract

LEVELS = ("all", "leaves", "none")


class LossContract(LossLabelsContract, CapturableContract):
    """The contract of losses (see `contracts.Loss`).

    Attributes:
        least: value of each term for a perfect prediction. None if there is no such value, as with
            label smoothing; it is not checked then.
        margin: smallest difference between the loss of a wrong and of a perfect prediction.
        steps: number of steps of Adam, on the logits themselves, that are enough to learn.
    """

    def assert_capturable(self, arguments: Arguments) -> None:
        def terms(loss: Loss, inputs: list[Tensor]) -> list[Tensor]:
            *trained, targets = inputs
            return [*terms_of(loss, [one.clone() for one in trained], targets, 0.5).values()]

        loss, inputs, targets, _ = self.draw(arguments, 17)
        assert_capturable(loss, terms, [*inputs, targets])

    # Attributes and terms.

    def test_attributes_are_valid(self, arguments: Arguments) -> None:
        """It is a `Loss` with valid `levels`, `activation` and `embedding_channels`."""
        loss = self.make(arguments)
        assert loss.levels in LEVELS, f"levels must be one of {LEVELS}, got {loss.levels!r}"
        activations = get_args(Activation)
        assert loss.activation in activations, (
            f"activation must be one of {activations}, got {loss.activation!r}"
        )
        channels = loss.embedding_channels
        assert isinstance(channels, int), f"embedding_channels must be an int, got {channels!r}"
        assert channels >= 0, f"embedding_channels must be non-negative, got {channels}"
        assert channels or loss.levels != "none", (
            'levels is "none" and embedding_channels is 0, so it trains nothing'
        )
        assert isinstance(loss.pixelwise, bool), f"pixelwise must be a bool, got {loss.pixelwise!r}"

    def test_terms_are_named_scalars(self, arguments: Arguments) -> None:
        """Its terms are finite float32 scalars, named by lower-case identifiers."""
        loss, inputs, targets, _ = self.draw(arguments, 0)
        for name, term in terms_of(loss, [one.clone() for one in inputs], targets).items():
            assert isinstance(name, str), f"names of terms must be strings, got {name!r}"
            is_valid = name.isidentifier() and name == name.lower()
            assert is_valid, (
                f"invalid name of a term, {name!r}: use lower-case letters, digits and underscores"
            )
            assert term.shape == (), (
                f"the term {name!r} must be a scalar, got shape {list(term.shape)}"
            )
            assert term.dtype == torch.float32, (
                f"the term {name!r} must be float32, got {term.dtype}: start with `logits.float()`"
            )
            assert term.isfinite(), f"the term {name!r} is {term.item()} for ordinary logits"

    def test_has_no_parameters_or_state(self, arguments: Arguments) -> None:
        """It has no parameters, and no state that a checkpoint would have to save."""
        loss = self.make(arguments)
        trained = [name for name, _ in loss.named_parameters()]
        assert not trained, (
            f"it has the parameters {', '.join(trained)}, which are not trained: make them "
            "buffers, or move them to a decoder"
        )
        kept = list(loss.state_dict())
        assert not kept, (
            f"it has the buffers {', '.join(kept)}, which checkpoints do not save: register them "
            "with persistent=False"
        )

    def test_trains_what_its_attributes_name(self) -> None:
        """The logits named by `levels` get gradients, and so does the embedding, if any."""
        loss, inputs, targets, _ = self.draw(self.settings[0], 1)
        _, gradients = terms_and_gradients(loss, inputs, targets)
        if loss.embedding_channels:
            assert gradients.pop().any(), (
                f"embedding_channels is {loss.embedding_channels}, but the embedding gets no "
                "gradient: set it to 0, or train the embedding"
            )
        if loss.levels == "none":
            assert not any(one.any() for one in gradients), (
                'levels is "none", but it trains logits: set it to "leaves" or "all"'
            )
            return
        for level, gradient in enumerate(gradients, 1):
            assert gradient.any(), (
                f"levels is {loss.levels!r}, but logits {level} of {len(gradients)} get no "
                "gradient, so the decoder would have a head that is not trained"
            )

    def test_leaves_only_losses_read_the_last_logits(self, arguments: Arguments) -> None:
        """A loss of the leaves gives the same with logits of the leaves only and of all levels."""
        loss, inputs, targets, generator = self.draw(arguments, 1)
        if loss.levels == "all":
            pytest.skip("it trains all levels")
        coarser = random_logits(self.hierarchy, SIZE, generator)[:-1]
        single, _ = terms_and_gradients(loss, inputs, targets)
        among, gradients = terms_and_gradients(self.make(arguments), [*coarser, *inputs], targets)
        differ = difference(among, single)
        assert not differ, (
            f"it gives {differ} with logits of all levels, as inside a sum of losses: read "
            "`prediction.logits[-1]`"
        )
        assert not any(one.any() for one in gradients[: len(coarser)]), (
            f"levels is {loss.levels!r}, but it trains logits of coarser levels: read only "
            '`prediction.logits[-1]`, or set levels to "all"'
        )

    # Computation.

    def test_inputs_are_not_modified(self, arguments: Arguments) -> None:
        """It does not modify logits, embedding or targets."""
        loss, inputs, targets, generator = self.draw(arguments, 5)
        targets = forget_anywhere(targets, generator)
        given = [one.detach() for one in inputs]  # the same memory
        before = [one.clone() for one in (*given, targets)]
        # Without a graph, since autograd would raise an error of its own.
        with torch.no_grad():
            terms_of(loss, given, targets)
        names = [*["logits"] * len(given), "targets"]
        if loss.embedding_channels:
            names[-2] = "embedding"
        for name, one, other in zip(names, before, (*given, targets), strict=True):
            assert torch.equal(one, other), (
                f"it modifies the {name}: clone them before writing in place"
            )
        terms_and_gradients(loss, inputs, targets)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_extreme_logits_are_finite(self, arguments: Arguments, dtype: torch.dtype) -> None:
        """Logits up to 10,000, also in half precision, give finite float32 terms and gradients."""
        loss, inputs, targets, generator = self.draw(arguments, 7)
        targets = forget_anywhere(targets, generator)
        for spread in (0.0, 1.0, 200.0, 1e4):
            extreme = copies([one.detach().clamp(-1, 1).mul(spread).to(dtype) for one in inputs])
            terms, gradients = terms_and_gradients(loss, extreme, targets)
            where = f"for logits up to {spread:g} in {dtype}"
            for term in terms:
                assert term.dtype == torch.float32, (
                    f"a term is {term.dtype} {where}: start with `logits.float()`"
                )
                assert term.isfinite(), (
                    f"a term is {term.item()} {where}: compute it from logits, with log_softmax, "
                    "logsigmoid or softplus, and not from the log of a score"
                )
            assert finite(gradients), (
                f"gradients are not finite {where}: avoid infinite slopes of square roots, logs "
                "and divisions, even in the branch that torch.where does not select"
            )

    def test_nan_is_not_hidden(self, arguments: Arguments) -> None:
        """Logits or an embedding of NaN give a loss that is not finite, so that a run stops."""
        loss, inputs, targets, _ = self.draw(arguments, 19)
        terms = terms_of(loss, [torch.full_like(one, torch.nan) for one in inputs], targets)
        assert not finite(list(terms.values())), (
            "all terms are finite for a prediction of NaN, so that a run would not notice that it "
            "diverges: do not replace NaN"
        )

    def test_autocast_does_not_change_the_loss(self, arguments: Arguments) -> None:
        """Under autocast it still computes in float32."""
        loss, inputs, targets, generator = self.draw(arguments, 8)
        targets = forget_anywhere(targets, generator)
        expected, slopes = terms_and_gradients(loss, inputs, targets)
        with torch.autocast("cpu", torch.bfloat16):
            terms, gradients = terms_and_gradients(self.make(arguments), inputs, targets)
        differ = difference([*terms, *gradients], [*expected, *slopes])
        assert not differ, (
            f"under autocast it gives {differ}: matrix products lose precision there, so compute "
            "them under `torch.autocast(device_type, enabled=False)`"
        )

    def test_is_deterministic(self, arguments: Arguments) -> None:
        """The same inputs give the same terms and gradients, for any global seed."""
        loss, inputs, targets, _ = self.draw(arguments, 9)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            terms, gradients = terms_and_gradients(loss, inputs, targets)
            torch.manual_seed(2)
            again, slopes = terms_and_gradients(self.make(arguments), inputs, targets)
        differ = difference([*again, *slopes], [*terms, *gradients], rtol=0, atol=0)
        assert not differ, (
            f"the same inputs give {differ} the second time: use a torch.Generator that is "
            "seeded by an argument and the progress"
        )

    def test_compiled_matches_eager(self) -> None:
        """With torch.compile the terms and gradients are the same."""
        loss, inputs, targets, generator = self.draw(self.settings[0], 12)
        targets = forget_anywhere(targets, generator)
        expected, slopes = terms_and_gradients(loss, inputs, targets)
        torch.compiler.reset()
        compiled = self.make(self.settings[0])
        compiled.compile(backend="eager", fullgraph=self.is_capturable)
        with in_one_piece():
            terms, gradients = terms_and_gradients(compiled, inputs, targets)
        differ = difference([*terms, *gradients], [*expected, *slopes])
        assert not differ, f"with torch.compile it gives {differ}"

    def test_cuda_matches_cpu(self, arguments: Arguments, device: str) -> None:
        """On CUDA the terms and gradients are the same as on the CPU."""
        loss, inputs, targets, generator = self.draw(arguments, 13, (2, 30, 40))
        targets = forget_anywhere(targets, generator)
        expected, slopes = terms_and_gradients(loss, inputs, targets)
        moved = [one.detach().to(device).requires_grad_() for one in inputs]
        moved_loss = self.make(arguments).to(device)
        terms, gradients = terms_and_gradients(moved_loss, moved, targets.to(device))
        differ = difference([*terms, *gradients], [*expected, *slopes])
        assert not differ, f"on CUDA it gives {differ}"

    def test_progress_may_be_a_float(self, arguments: Arguments) -> None:
        """A float `progress` gives the same terms as the tensor of a training step."""
        loss, inputs, targets, _ = self.draw(arguments, 18)
        if not has_argument(loss.forward, "progress"):
            pytest.skip("its forward has no argument `progress`")
        for progress in PROGRESS:
            found, expected = (
                list(terms_of(loss, copies(inputs), targets, progress, in_step).values())
                for in_step in (False, True)
            )
            differ = difference(found, expected)
            assert not differ, (
                f"a float progress of {progress} gives {differ} of the tensor: compute with both, "
                "as `hieraseg.functional.ramp` does"
            )

    # Trees and sizes.

    def test_trees_of_every_shape(self, tree: Hierarchy) -> None:
        """Terms and gradients are finite on trees of every shape, from one class to six levels."""
        loss, inputs, targets, generator = self.draw(self.settings[0], 11, hierarchy=tree)
        targets = forget_anywhere(targets, generator)
        terms, gradients = terms_and_gradients(loss, inputs, targets)
        assert finite([*terms, *gradients]), "a term or gradient is not finite on this tree"

    @pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 1), (1, 16, 7)], ids=str)
    def test_odd_image_sizes(self, arguments: Arguments, size: Size) -> None:
        """Terms and gradients are finite for images of any size, down to a single pixel."""
        loss, inputs, targets, _ = self.draw(arguments, 15, size)
        terms, gradients = terms_and_gradients(loss, inputs, targets)
        assert finite([*terms, *gradients]), "a term or gradient is not finite at this size"

    def test_embedding_may_be_smaller(self, arguments: Arguments) -> None:
        """The embedding may be smaller than the logits."""
        loss, inputs, targets, _ = self.draw(arguments, 16)
        if not loss.embedding_channels:
            pytest.skip("it trains no embedding")
        inputs[-1] = inputs[-1].detach()[:, :, ::2, ::2].contiguous().requires_grad_()
        terms, gradients = terms_and_gradients(loss, inputs, targets)
        assert finite([*terms, *gradients]), "a term or gradient is not finite"
