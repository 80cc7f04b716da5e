"""Whether an exported file predicts as the model that it was made of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from hieraseg.data.images import resize
from hieraseg.exporting.formats import Run
from hieraseg.inference.segmenter import Segmenter

LARGEST_DIFFERENCE = 1e-3
"""Of scores in 0..1. Float32 in another order of operations differs by some 1e-6."""
SMALLEST_SHARE = 0.999
"""Of classes that follow from the file's own scores. The model may have others where two classes
have nearly equal scores, which is most of an image before training."""


class Case(NamedTuple):
    """A batch to compare.

    Attributes:
        images: RGB, as the model sees them.
        size: height and width of the outputs.
    """

    images: UInt8[np.ndarray, "B H W 3"]
    size: tuple[int, int]


@dataclass(frozen=True)
class Agreement:
    """How far a file and the model agree.

    Attributes:
        difference: largest difference of scores, which lie in 0..1.
        equal: share of pixels and levels with equal classes.
        consistent: share of those whose classes the run's inference rule gives for the scores of
            the file.
        sizes: heights and widths of the compared images.
    """

    difference: float
    equal: float
    consistent: float
    sizes: list[tuple[int, int]]

    @property
    def is_within_tolerance(self) -> bool:
        """Whether the file may be used. A difference that is NaN is too large."""
        return self.difference <= LARGEST_DIFFERENCE and self.consistent >= SMALLEST_SHARE

    def __str__(self) -> str:
        sizes = ", ".join(f"{height}x{width}" for height, width in self.sizes)
        return (
            f"largest difference of scores {self.difference:.1e}, "
            f"equal classes {100 * self.equal:.3f} %, at {sizes}"
        )


def cases(
    pairs: Sequence[tuple[UInt8[np.ndarray, "_ _ 3"], tuple[int, int]]], any_size: bool
) -> list[Case]:
    """What to compare: each image, a batch of two and, where the file takes it, another size.

    Args:
        pairs: images as the model sees them, and the size of the outputs of each.
        any_size: whether the file takes images of any size.
    """
    first, size = pairs[0]
    found = [Case(image[None], size) for image, size in pairs]
    found.append(Case(np.stack([first, first[:, ::-1]]), size))
    if any_size:
        height, width = (max(side * 5 // 7, 1) for side in first.shape[:2])
        smaller = resize(first, (height, width), Image.Resampling.BILINEAR)
        found.append(Case(smaller[None], (height, width)))
    return found


def compare(run: Run, segmenter: Segmenter, compared: Iterable[Case], any_size: bool) -> Agreement:
    """Compare a file with the model.

    Args:
        run: runs the file.
        segmenter: the model.
        compared: images.
        any_size: whether the size of the outputs is an input of the file.
    """
    padded, rule = segmenter.padded_model(), segmenter.rule
    differences, equal, consistent, sizes = [], [], [], []
    for images, size in compared:
        pixels = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 255
        outputs = run(pixels.contiguous(), size if any_size else None)
        with torch.no_grad():
            expected = segmenter.scores(padded([pixels]), size)
            found = [outputs[f"scores_level{level}"] for level in range(1, len(expected) + 1)]
            wanted = rule(expected), rule(found)
        pairs = zip(found, expected, strict=True)
        differences += [float((one - other).abs().max()) for one, other in pairs]
        shares = [float((outputs["classes"] == one).float().mean()) for one in wanted]
        equal.append(shares[0])
        consistent.append(shares[1])
        sizes.append((images.shape[1], images.shape[2]))
    # With NumPy's maximum, which is NaN if one of them is.
    largest, distinct = float(np.max(differences)), list(dict.fromkeys(sizes))
    return Agreement(largest, min(equal), min(consistent), distinct)
