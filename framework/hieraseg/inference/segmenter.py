"""From images to scores to classes, for any loss, inference rule and test-time augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int, UInt8
from lightning_fabric import Fabric
from torch import Tensor, nn

from hieraseg.contracts import Activation, InferenceRule, Prediction
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.scores import level_scores
from hieraseg.inference.tta import Rescale, predict_augmented, rescale
from hieraseg.model.segmentation import resize_logits
from hieraseg.settings import Evaluation


@dataclass(frozen=True)
class Segmenter:
    """A model, and how its logits become classes.

    Attributes:
        model: image -> logits per level.
        activation: how logits become scores, as defined by the loss that trained the model.
        rule: scores per level -> one class per level.
        hierarchy: the class tree.
        settings: test-time augmentation. The default is none.
        rescale: how images are resized to the scales of test-time augmentation.
    """

    model: nn.Module
    activation: Activation
    rule: InferenceRule
    hierarchy: Hierarchy
    settings: Evaluation = field(default_factory=Evaluation)
    rescale: Rescale = rescale

    def predict(self, images: Float[Tensor, "B 3 H W"]) -> list[Prediction]:
        """Predict images in 0..1, once per test-time augmentation (see `tta`)."""
        return predict_augmented(self.model, images, self.hierarchy, self.settings, self.rescale)

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


def predict_batch(
    fabric: Fabric, segmenter: Segmenter, images: UInt8[Tensor, "B 3 H W"]
) -> list[Prediction]:
    """Predict uint8 images in the precision of fabric, without gradients."""
    with torch.inference_mode(), fabric.autocast():
        return segmenter.predict(images.float() / 255)
