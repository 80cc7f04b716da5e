"""Models of known predictions, and their scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hieraseg import Hierarchy, Prediction, registry
from hieraseg.devices import start_fabric
from hieraseg.inference.bands import predict_images
from hieraseg.inference.segmenter import Segmenter
from hieraseg.settings import Evaluation, Input

TREE = Hierarchy.from_tree({"background": None, "x": {"a": None, "y": ["b", "c"]}})
PADDING = (0.25, 0.5, 0.75)
"""The mean color of the models."""


class Recorded(nn.Module):
    """A model that keeps the sizes of the images that it gets.

    Args:
        stride: pixels that the sides of its images must be a multiple of.
    """

    mean: Tensor

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.register_buffer("mean", torch.tensor(PADDING).view(1, 3, 1, 1))
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Prediction:
        self.sizes.append(tuple(images.shape[-2:]))
        assert all(side % self.stride == 0 for side in self.sizes[-1])
        return Prediction(tuple(self.logits(images)))

    def logits(self, images: Tensor) -> list[Tensor]:
        raise NotImplementedError


class Pointwise(Recorded):
    """The logits of a pixel depend on its color only."""

    def __init__(self, num_classes: Sequence[int] = TREE.num_classes, stride: int = 1) -> None:
        super().__init__(stride)
        torch.manual_seed(0)
        self.levels = nn.ModuleList(nn.Conv2d(3, classes, 1) for classes in num_classes)

    def logits(self, images: Tensor) -> list[Tensor]:
        return [10 * level(images) for level in self.levels]


class Convolutional(Recorded):
    """The logits of a pixel depend on its surroundings."""

    def __init__(self, num_classes: Sequence[int] = TREE.num_classes, stride: int = 1) -> None:
        super().__init__(stride)
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, 4, 5, padding=2)
        self.levels = nn.ModuleList(nn.Conv2d(4, n, 3, padding=1) for n in num_classes)

    def logits(self, images: Tensor) -> list[Tensor]:
        features = self.features(images).relu()
        return [5 * level(features) for level in self.levels]


def segmenter(
    model: nn.Module, hierarchy: Hierarchy = TREE, resize: str = "stretch", **settings: Any
) -> Segmenter:
    """A segmenter with the given settings of `Evaluation`."""
    rule = registry.inference.get("best_path")(hierarchy=hierarchy)
    seen = Input(resize=resize)  # type: ignore[arg-type]
    return Segmenter(model, "softmax", rule, hierarchy, Evaluation(**settings), seen)


def scores_of(
    segmenter: Segmenter, image: np.ndarray, size: tuple[int, int] | None = None
) -> list[Tensor]:
    """Scores `[C_l, H, W]` per level of an image; the bands must follow each other."""
    size = size or (image.shape[0], image.shape[1])
    stack = torch.from_numpy(image.copy())[None]
    (bands,) = predict_images(start_fabric("cpu"), segmenter, [stack], [size])
    found, row = [], 0
    for band in bands:
        assert band.rows.start == row
        row = band.rows.stop
        found.append(band.scores)
    assert row == size[0]
    return [torch.cat(levels, 2)[0] for levels in zip(*found, strict=True)]
