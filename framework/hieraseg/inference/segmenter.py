"""From images to scores to classes, so that every inference rule works with every loss and view."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hieraseg.contracts import Activation, InferenceRule, Prediction
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.scores import level_scores
from hieraseg.inference.tta import predict_views
from hieraseg.model.segmentation import resize_logits
from hieraseg.settings import Evaluation


@dataclass(frozen=True)
class Segmenter:
    """A model together with how its logits become classes.

    Attributes:
        model: image -> logits per level.
        activation: how the loss that trained it makes scores of logits.
        rule: scores per level -> one class per level.
        hierarchy: the class tree.
        settings: test-time augmentation.
    """

    model: nn.Module
    activation: Activation
    rule: InferenceRule
    hierarchy: Hierarchy
    settings: Evaluation = field(default_factory=Evaluation)

    def predictions(self, images: Float[Tensor, "B 3 H W"]) -> list[Prediction]:
        """What the model answers to each view of images in 0..1 (see `views.predict_views`)."""
        return predict_views(self.model, images, self.hierarchy, self.settings)

    def scores(
        self, predictions: Sequence[Prediction], size: tuple[int, ...]
    ) -> list[Float[Tensor, "B _ H W"]]:
        """Scores of every level's classes at (height, width), averaged over the views."""
        scores: list[Tensor] = []
        for prediction in predictions:
            logits = resize_logits(prediction, size).logits
            view = level_scores(logits, self.activation, self.hierarchy)
            scores = list(map(torch.add, scores, view)) if scores else view
        return [level / len(predictions) for level in scores] if len(predictions) > 1 else scores

    def classes(self, prediction: Prediction) -> Int[Tensor, "B levels H W"]:
        """One class per level and pixel, of one prediction at its own size."""
        return self.rule(level_scores(prediction.logits, self.activation, self.hierarchy))
