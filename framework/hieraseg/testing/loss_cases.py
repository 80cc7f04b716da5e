"""Losses with random inputs, and what they answer: the base of the suite of losses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hieraseg.contracts import Loss, Prediction, asks_for
from hieraseg.hierarchy import Hierarchy
from hieraseg.testing.cases import Size, random_logits, random_targets
from hieraseg.testing.component import DEFAULTS, Arguments, TreeContract

SIZE = (2, 9, 10)
PROGRESS = (0.0, 0.5, 1.0)

Answer = tuple[list[Tensor], list[Tensor]]
"""The terms, and the gradient of each input."""


def random_inputs(
    loss: Loss, hierarchy: Hierarchy, size: Size, generator: torch.Generator
) -> list[Tensor]:
    """The logits that a model with this loss gives, and the embedding last if there is one."""
    inputs = random_logits(hierarchy, size, generator)
    if loss.levels != "all":
        inputs = inputs[-1:]
    if loss.embedding_channels:
        batch, height, width = size
        shape = (batch, loss.embedding_channels, height, width)
        inputs.append(torch.randn(shape, generator=generator).requires_grad_())
    return inputs


def copies(inputs: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers, asking for gradients of their own."""
    return [one.detach().clone().requires_grad_() for one in inputs]


def terms_of(
    loss: Loss, inputs: Sequence[Tensor], targets: Tensor, progress: float = 1.0
) -> dict[str, Tensor]:
    """The terms of logits, and of the embedding last if the loss trains one."""
    split = len(inputs) - (1 if loss.embedding_channels else 0)
    embedding = inputs[split] if loss.embedding_channels else None
    prediction = Prediction(tuple(inputs[:split]), embedding)
    timed = {"progress": progress} if asks_for(loss.forward, "progress") else {}
    terms = loss(prediction, targets, **timed)
    assert isinstance(terms, dict), (
        f"forward returns a {type(terms).__name__}: return {{name: term}}"
    )
    assert terms, "forward returns no terms: return at least one, as {name: term}"
    return terms


def answer(loss: Loss, inputs: Sequence[Tensor], targets: Tensor, progress: float = 1.0) -> Answer:
    """The terms, and the gradients of their sum; zeros for inputs that it does not read."""
    # Copies, as a model's logits are no leaves of the graph: these cannot be written in place.
    terms = terms_of(loss, [one.clone() for one in inputs], targets, progress)
    for name, term in terms.items():
        assert term.requires_grad, (
            f"the term {name!r} has no graph, so training stops at it: compute it from the "
            "prediction, also where there is nothing to learn (as `0 * logits.sum()`), and "
            "without `.item()`, `.detach()` or `torch.no_grad()`"
        )
    total = torch.stack(list(terms.values())).sum()
    gradients = torch.autograd.grad(total, list(inputs), allow_unused=True, materialize_grads=True)
    return [term.detach() for term in terms.values()], list(gradients)


class LossCases(TreeContract):
    """The base of the suite of losses: how to make one, with something to answer to."""

    def make(
        self,
        arguments: Arguments = DEFAULTS,
        hierarchy: Hierarchy | None = None,
        class_pixels: list[Tensor] | None = None,
    ) -> Loss:
        """The loss, on the main tree where no other is given."""
        hierarchy = hierarchy or self.hierarchy
        pixels = class_pixels or [torch.arange(1.0, n + 1) for n in hierarchy.num_classes]
        loss = self.build(
            arguments, hierarchy=hierarchy, class_pixels=[one.double() for one in pixels]
        )
        assert isinstance(loss, Loss), "it is no `hieraseg.Loss`: subclass it"
        return loss

    def draw(
        self,
        arguments: Arguments,
        seed: int,
        size: Size = SIZE,
        hierarchy: Hierarchy | None = None,
    ) -> tuple[Loss, list[Tensor], Tensor, torch.Generator]:
        """A loss with random inputs and targets, all levels known."""
        hierarchy, generator = hierarchy or self.hierarchy, torch.Generator().manual_seed(seed)
        loss = self.make(arguments, hierarchy)
        inputs = random_inputs(loss, hierarchy, size, generator)
        return loss, inputs, random_targets(hierarchy, size, generator), generator
