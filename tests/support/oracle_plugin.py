"""A plugin file with a model whose prediction is known, and a data set that suits it.

The model predicts for each pixel the leaf whose color is nearest; the images have these colors. So
it scores 1.0, and any other score is due to the framework. See `tests.support.oracle`.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hieraseg import Hierarchy, Prediction, registry


def leaf_colors(leaves: int) -> np.ndarray:
    """A color for each leaf, uint8 `[leaves, 3]`, on a regular grid in RGB."""
    side = 2
    while side**3 < leaves:
        side += 1
    numbers = np.arange(leaves)
    digits = np.stack([numbers // side**power % side for power in range(3)], axis=1)
    return np.round(digits * 255 / (side - 1)).astype(np.uint8)


@registry.datasets.register("rectangles")
class Rectangles:
    """A rectangle of each leaf's color, at random places.

    Args:
        hierarchy: supplied by the runner. Each leaf has a label.
        shape: height and width of the images.
        images: number of images in the split `train`. Other splits have half as many.
        shown: maximum number of leaves in an image, drawn at random; null for all.
        shapes: height and width of each image in turn, instead of one for all.
    """

    splits = ("train", "val", "holdout")

    def __init__(
        self,
        hierarchy: Hierarchy,
        shape: tuple[int, int] = (32, 32),
        images: int = 4,
        shown: int | None = None,
        shapes: list[tuple[int, int]] | None = None,
    ) -> None:
        self.shapes, self.images, self.shown = shapes or [shape], images, shown
        leaf = {name: index for index, name in enumerate(hierarchy.level_names[-1])}
        self.labels = [value for value, name in hierarchy.labels.items() if name in leaf]
        colors = leaf_colors(len(leaf))
        self.colors = {value: colors[leaf[hierarchy.labels[value]]] for value in self.labels}

    def ids(self, split: str) -> list[str]:
        images = self.images if split == "train" else max(self.images // 2, 1)
        return [f"{split}{index}" for index in range(images)]

    def image(self, id: str) -> np.ndarray:
        mask = self.mask(id)
        image = np.zeros((*mask.shape, 3), np.uint8)
        for value, color in self.colors.items():
            image[mask == value] = color
        return image

    def mask(self, id: str) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(id.encode()))
        number = int("".join(character for character in id if character.isdigit()))
        height, width = self.shapes[number % len(self.shapes)]
        dtype = np.uint8 if max(self.labels) < 256 else np.uint16
        mask = np.full((height, width), self.labels[0], dtype)
        for value in rng.permutation(self.labels)[: self.shown]:
            top, left = rng.integers(0, max(height // 2, 1)), rng.integers(0, max(width // 2, 1))
            mask[top : top + height // 3 + 1, left : left + width // 3 + 1] = value
        return mask

    def fingerprint(self, split: str) -> str:
        return f"rectangles {split} {self.shapes} {self.images} {self.shown}"


@registry.backbones.register("oracle")
class OracleBackbone(nn.Module):
    """The image itself, as a pyramid of one stage.

    Args:
        stride: what the sides of images must be multiples of.
    """

    channels = (3,)
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.strides = (stride,)
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> list[Tensor]:
        if any(side % self.strides[0] for side in image.shape[-2:]):
            raise ValueError(f"an image of {tuple(image.shape[-2:])} does not fit the stride")
        return [image + 0 * self.unused]


@registry.decoders.register("oracle")
class OracleDecoder(nn.Module):
    """High logits for the leaf whose color is nearest, and for the classes above it.

    Args:
        num_classes: of each level with logits, supplied by the runner.
        hierarchy: the class tree, supplied by the runner.
        sharpness: factor of the squared distance between colors.
    """

    colors: Tensor

    def __init__(
        self, num_classes: Sequence[int], hierarchy: Hierarchy, sharpness: float = 500.0
    ) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(sharpness))
        self.register_buffer("colors", torch.from_numpy(leaf_colors(len(hierarchy.paths))) / 255)
        self.paths = hierarchy.paths[:, -len(num_classes) :]
        self.num_classes = list(num_classes)

    def forward(self, pyramid: Sequence[Tensor]) -> Prediction:
        image = pyramid[-1].float()
        distances = (image[:, None] - self.colors[:, :, None, None]).square().sum(2)
        leaves = -self.sharpness * distances
        logits = []
        for classes, column in zip(self.num_classes, self.paths.unbind(1), strict=True):
            index = column.to(leaves.device)[None, :, None, None].expand_as(leaves)
            empty = leaves.new_full((len(leaves), classes, *leaves.shape[2:]), -1e4)
            logits.append(empty.scatter_reduce(1, index, leaves, "amax"))
        return Prediction(tuple(logits))
