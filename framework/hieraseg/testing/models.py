"""The contract of models."""

import math
from typing import Any, cast

import pytest
from torch import Tensor, nn

from hieraseg.contracts import Prediction
from hieraseg.hierarchy import Hierarchy
from hieraseg.testing.component import DEFAULTS, Arguments
from hieraseg.testing.images import SIZES, ImageContract, random_images
from hieraseg.testing.predictions import EMBEDDING, PredictionContract, as_prediction


class ModelContract(ImageContract, PredictionContract):
    """The contract of models (see `contracts.Model`)."""

    def supplied(
        self,
        hierarchy: Hierarchy | None = None,
        leaves_only: bool = False,
        embedding_channels: int = 0,
    ) -> dict[str, Any]:
        """Arguments that the runner supplies, by default for the main tree."""
        hierarchy = hierarchy or self.hierarchy
        classes = hierarchy.num_classes[-1:] if leaves_only else hierarchy.num_classes
        return {
            "num_classes": list(classes),
            "hierarchy": hierarchy,
            "embedding_channels": embedding_channels,
        }

    def make(
        self,
        arguments: Arguments = DEFAULTS,
        hierarchy: Hierarchy | None = None,
        leaves_only: bool = False,
        embedding_channels: int = 0,
    ) -> nn.Module:
        """Build a model (see `supplied` for the defaults)."""
        supplied = self.supplied(hierarchy, leaves_only, embedding_channels)
        return cast(nn.Module, self.build(arguments, **supplied))

    def module(self, arguments: Arguments = DEFAULTS) -> nn.Module:
        return self.make(arguments, embedding_channels=self.embedding_channels)

    def predict(self, module: nn.Module, inputs: list[Tensor]) -> Prediction:
        return as_prediction(module(*inputs))

    def test_attributes_are_valid(self, arguments: Arguments) -> None:
        """`stride`, `mean` and `std` are valid, and so is `backbone`, if there is one."""
        module: Any = self.shared_module(arguments)
        for name in ("stride", "mean", "std"):
            assert hasattr(module, name), f"missing attribute {name!r} (see contracts.Model)"
        is_stride = isinstance(module.stride, int) and module.stride > 0
        assert is_stride, f"stride must be a positive int, got {module.stride!r}"
        self.check_statistics(module)
        backbone = getattr(module, "backbone", None)
        assert backbone is None or isinstance(backbone, nn.Module), (
            f"its attribute backbone is a {type(backbone).__name__}: make it the torch.nn.Module "
            "whose parameters are the optimizer's group `backbone`, or rename it"
        )

    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_logits_match_num_classes(self, arguments: Arguments, size: tuple[int, int]) -> None:
        """There is one logit map per level with its classes, even for odd image sizes."""
        model = self.make(arguments)
        images = [random_images(2, size)]
        for logits in self.check_logits(model, images, self.hierarchy.num_classes).logits:
            sides = (logits.shape[2], logits.shape[3])
            assert fits_a_stride(size, sides), (
                f"for images of {size}, logits are {sides}, which no stride gives: they must be "
                "[B, C, H, W], and cover the whole image"
            )

    def test_logits_match_every_tree(self, tree: Hierarchy) -> None:
        """Logits match trees of every shape, from one class to six levels."""
        model = self.make(self.settings[0], hierarchy=tree)
        self.check_logits(model, self.inputs(), tree.num_classes)

    def test_logits_of_leaves_only(self, arguments: Arguments) -> None:
        """If `num_classes` has only the leaves, there are logits only for the leaves."""
        model = self.make(arguments, leaves_only=True)
        self.check_logits(model, self.inputs(), self.hierarchy.num_classes[-1:])

    def test_embedding_has_the_requested_channels(self, arguments: Arguments) -> None:
        """A model with an argument `embedding_channels` returns an embedding of that size."""
        if not self.embedding_channels:
            pytest.skip("there is no argument `embedding_channels`, so it returns no embedding")
        self.check_embedding(self.make(arguments, embedding_channels=EMBEDDING), self.inputs())


def fits_a_stride(size: tuple[int, int], sides: tuple[int, int]) -> bool:
    """Whether one stride, rounded up or down, makes a map of these sides of an image."""
    smallest = max(side / (got + 1) for side, got in zip(size, sides, strict=True))
    largest = min(
        side / (got - 1) if got > 1 else math.inf for side, got in zip(size, sides, strict=True)
    )
    return smallest < largest
