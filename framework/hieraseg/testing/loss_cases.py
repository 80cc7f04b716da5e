"""Building losses with random inputs, and computing their terms and gradients."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from hieraseg.contracts import Loss, Prediction, has_argument
from hieraseg.hierarchy import Hierarchy
from hieraseg.testing.cases import Size, random_logits, random_targets
from hieraseg.testing.component import DEFAULTS, Arguments, TreeContract

SIZE = (2, 9, 10)
PROGRESS = (0.0, 0.5, 1.0)


def random_inputs(
    loss: Loss, hierarchy: Hierarchy, size: Size, generator: torch.Generator
) -> list[Tensor]:
    """Random inputs of a loss that require gradients.

    Returns:
        The logits that the loss needs, followed by an embedding if it needs one.
    """
    inputs = random_logits(hierarchy, size, generator)
    if loss.levels != "all":
        inputs = inputs[-1:]
    if loss.embedding_channels:
        batch, height, width = size
        shape = (batch, loss.embedding_channels, height, width)
        inputs.append(torch.randn(shape, generator=generator).requires_grad_())
    return inputs


def copies(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Copies that require gradients."""
    return [one.detach().clone().requires_grad_() for one in inputs]


def terms_of(
    loss: Loss,
    inputs: Sequence[Tensor],
    targets: Tensor,
    progress: float = 1.0,
    in_step: bool = True,
) -> dict[str, Tensor]:
    """The terms of a loss.

    Args:
        loss: the loss.
        inputs: logits, followed by an embedding if the loss needs one.
        targets: int64 `[B, L, H, W]`.
        progress: share of the training that is done, for losses that depend on it.
        in_step: whether the loss gets it as a tensor, as in a training step.
    """
    split = len(inputs) - (1 if loss.embedding_channels else 0)
    embedding = inputs[split] if loss.embedding_channels else None
    prediction = Prediction(tuple(inputs[:split]), embedding)
    done = torch.full((), progress, device=targets.device) if in_step else progress
    timed = {"progress": done} if has_argument(loss.forward, "progress") else {}
    terms = loss(prediction, targets, **timed)
    assert isinstance(terms, dict), (
        f"forward must return a dict {{name: term}}, got {type(terms).__name__}"
    )
    assert terms, "forward returns no terms"
    return terms


def terms_and_gradients(
    loss: Loss, inputs: Sequence[Tensor], targets: Tensor, progress: float = 1.0
) -> tuple[list[Tensor], list[Tensor]]:
    """The terms of a loss, and the gradient of their sum for each input (see `terms_of`)."""
    # Copies, since the logits of a model are not leaves of the graph, and a loss may not write
    # to leaves in place.
    terms = terms_of(loss, [one.clone() for one in inputs], targets, progress)
    for name, term in terms.items():
        assert term.requires_grad, (
            f"the term {name!r} has no graph, so that it cannot be trained: compute it from the "
            "prediction, even if there is nothing to learn (as in `0 * logits.sum()`), without "
            "`.item()`, `.detach()` or `torch.no_grad()`"
        )
    total = torch.stack(list(terms.values())).sum()
    gradients = torch.autograd.grad(total, list(inputs), allow_unused=True, materialize_grads=True)
    return [term.detach() for term in terms.values()], list(gradients)


class LossCases(TreeContract):
    """Base class of the suite of losses, which builds them with random inputs."""

    def supplied(
        self, hierarchy: Hierarchy | None = None, class_pixels: list[Tensor] | None = None
    ) -> dict[str, Any]:
        """Arguments that the runner supplies, by default for the main tree."""
        hierarchy = hierarchy or self.hierarchy
        pixels = class_pixels or [torch.arange(1.0, n + 1) for n in hierarchy.num_classes]
        return {"hierarchy": hierarchy, "class_pixels": [one.double() for one in pixels]}

    def make(
        self,
        arguments: Arguments = DEFAULTS,
        hierarchy: Hierarchy | None = None,
        class_pixels: list[Tensor] | None = None,
    ) -> Loss:
        """Build the loss, by default for the main tree."""
        return cast(Loss, self.build(arguments, **self.supplied(hierarchy, class_pixels)))

    def draw(
        self,
        arguments: Arguments,
        seed: int,
        size: Size = SIZE,
        hierarchy: Hierarchy | None = None,
    ) -> tuple[Loss, list[Tensor], Tensor, torch.Generator]:
        """A loss, random inputs, random targets that are known on all levels, and a generator."""
        hierarchy, generator = hierarchy or self.hierarchy, torch.Generator().manual_seed(seed)
        loss = self.make(arguments, hierarchy)
        inputs = random_inputs(loss, hierarchy, size, generator)
        return loss, inputs, random_targets(hierarchy, size, generator), generator
