"""What the contracts of decoders and models share: both return a prediction."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hieraseg.contracts import Prediction, has_argument
from hieraseg.testing.component import DEFAULTS, Arguments, TreeContract
from hieraseg.testing.modules import ModuleContract

EMBEDDING = 6


class PredictionContract(ModuleContract, TreeContract):
    """Base class of the suites of decoders and models."""

    @property
    def embedding_channels(self) -> int:
        """Channels of the embedding to request; 0 if the component cannot return one."""
        return EMBEDDING if has_argument(self.component, "embedding_channels") else 0

    def make(self, arguments: Arguments = DEFAULTS) -> nn.Module:
        """Build a component without an embedding."""
        raise NotImplementedError

    def outputs(self, module: nn.Module, inputs: Any) -> list[Tensor]:
        prediction = self.predict(module, inputs)
        embedding = [] if prediction.embedding is None else [prediction.embedding]
        return [*prediction.logits, *embedding, *(prediction.auxiliary or ())]

    def predict(self, module: nn.Module, inputs: Any) -> Prediction:
        """The prediction of a module."""
        raise NotImplementedError

    def check_logits(self, module: nn.Module, inputs: Any, classes: list[int]) -> Prediction:
        """Assert that there are logits of the right number of classes, and no embedding.

        Args:
            module: the module.
            inputs: inputs of two images.
            classes: number of classes of each level that gets logits.

        Returns:
            The prediction.
        """
        with torch.no_grad():
            prediction = self.predict(module.eval(), inputs)
        found = [tuple(logits.shape[:2]) for logits in prediction.logits]
        expected = [(2, count) for count in classes]
        assert found == expected, (
            f"logits per level are [B, C] = {found}, but must be {expected} to match "
            "num_classes, coarsest level first"
        )
        assert all(logits.ndim == 4 and min(logits.shape) > 0 for logits in prediction.logits), (
            "logits must be [B, C, H, W], got shapes "
            f"{[list(logits.shape) for logits in prediction.logits]}"
        )
        assert all(logits.isfinite().all() for logits in prediction.logits), "logits are not finite"
        assert prediction.embedding is None, (
            "it returns an embedding although embedding_channels is 0"
        )
        return prediction

    def check_embedding(self, module: nn.Module, inputs: Any) -> None:
        """Assert that two images have an embedding with the requested channels."""
        with torch.no_grad():
            embedding = self.predict(module.eval(), inputs).embedding
        assert embedding is not None, (
            f"it returns no embedding although embedding_channels is {EMBEDDING}"
        )
        assert embedding.ndim == 4, (
            f"the embedding must be [B, D, h, w], got shape {list(embedding.shape)}"
        )
        assert embedding.shape[:2] == (2, EMBEDDING), (
            f"the embedding is {list(embedding.shape)}, but embedding_channels is {EMBEDDING}"
        )

    def test_auxiliary_logits_are_those_of_training(self, arguments: Arguments) -> None:
        """Auxiliary logits, if it returns any, are like its logits, and only in training mode."""
        module, images = self.make(arguments), self.inputs()
        with torch.no_grad():
            trained = self.predict(module.train(), images)
            evaluated = self.predict(module.eval(), images)
        assert evaluated.auxiliary is None, (
            "it returns auxiliary logits in evaluation mode: compute them only if `self.training` "
            "is true"
        )
        if trained.auxiliary is None:
            pytest.skip("it returns no auxiliary logits")
        found, expected = (
            [tuple(logits.shape[:2]) for logits in levels]
            for levels in (trained.auxiliary, trained.logits)
        )
        assert found == expected, (
            f"auxiliary logits per level are [B, C] = {found}, but must be {expected}, as those of "
            "its logits"
        )


def as_prediction(output: Any) -> Prediction:
    """Assert that an output is a prediction."""
    assert isinstance(output, Prediction), (
        f"forward must return a `hieraseg.Prediction`, got {type(output).__name__}"
    )
    return output
