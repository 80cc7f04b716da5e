"""What the contracts of backbones and models share: both get normalised images."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hieraseg.recipe.arguments import arguments_of
from hieraseg.testing.modules import ModuleContract

SIZE = (32, 64)
SIZES = (SIZE, (65, 33), (97, 128))
"""Height and width of images."""


def random_images(batch: int, size: tuple[int, int] = SIZE) -> Tensor:
    """Random normalised images."""
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(2))


class ImageContract(ModuleContract):
    """Base class of the suites of backbones and models."""

    def inputs(self, batch: int = 2) -> list[Tensor]:
        return [random_images(batch)]

    def check_statistics(self, module: Any) -> None:
        """Assert that the attributes `mean` and `std` are those of RGB images in 0..1."""
        for name, numbers in (("mean", module.mean), ("std", module.std)):
            assert len(numbers) == 3, f"{name} must be three numbers (R, G, B), got {numbers}"
            assert all(0 <= one <= 1 for one in numbers), (
                f"{name} must be that of images in 0..1, not 0..255, got {numbers}"
            )
        assert all(one > 0 for one in module.std), f"std must be positive, got {module.std}"

    def test_weights_may_be_none(self) -> None:
        """An argument `weights`, if there is one, accepts null for random weights."""
        weights = arguments_of(self.component, self.kind().supplied).get("weights")
        if weights is None:
            pytest.skip("there is no argument `weights`")
        try:
            weights.read(None)
        except ValueError as error:
            raise AssertionError(
                f"weights does not accept null ({error}): annotate it as `... | None`, with None "
                "for random weights; a run passes null when it loads a checkpoint"
            ) from None
        self.build({**self.settings[0], "weights": None}, **self.supplied())
