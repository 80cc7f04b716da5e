"""A model and how its logits become classes, for any loss and inference rule."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hieraseg.contracts import Activation, InferenceRule, Prediction
from hieraseg.data.shapes import evaluation_input
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.padding import PaddedModel
from hieraseg.inference.scores import level_scores
from hieraseg.model.segmentation import SegmentationModel, resize_logits
from hieraseg.settings import Evaluation, Input


@dataclass(frozen=True)
class Segmenter:
    """A model, and how it predicts images of any size.

    Attributes:
        model: image -> logits per level.
        activation: how logits become scores, as defined by the loss that trained the model.
        rule: scores per level -> one class per level.
        hierarchy: the class tree.
        settings: windows and test-time augmentation. The default is none.
        input: how images were resized when the model was trained.
    """

    model: nn.Module
    activation: Activation
    rule: InferenceRule
    hierarchy: Hierarchy
    settings: Evaluation = field(default_factory=Evaluation)
    input: Input = field(default_factory=Input)

    @property
    def seen(self) -> Input:
        """How images are resized for this segmenter."""
        return evaluation_input(self.input, self.settings)

    def padded_model(self) -> PaddedModel:
        """The model, for images of any size. Stretched images have the one that it trained on."""
        model = cast(SegmentationModel, self.model)
        if self.seen.resize == "stretch":
            return PaddedModel(model, 1, torch.zeros(1, 3, 1, 1))
        return PaddedModel(model, model.stride, model.mean)

    def scores(
        self, predictions: Sequence[Prediction], size: tuple[int, ...]
    ) -> list[Float[Tensor, "B _ H W"]]:
        """Scores in 0..1 of all classes per level, averaged over the predictions.

        Args:
            predictions: the predictions of the same images, of any size.
            size: height and width of the scores.
        """
        total: list[Tensor] = []
        for prediction in predictions:
            logits = resize_logits(prediction, size).logits
            scores = level_scores(logits, self.activation, self.hierarchy)
            total = list(map(torch.add, total, scores)) if total else scores
        return [level / len(predictions) for level in total] if len(predictions) > 1 else total

    def classes(self, prediction: Prediction) -> Int[Tensor, "B levels H W"]:
        """One class per level and pixel, at the size of the logits."""
        return self.rule(level_scores(prediction.logits, self.activation, self.hierarchy))
