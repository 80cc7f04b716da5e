"""Color jitter or noise."""

import math

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from hieraseg import Draws
from hieraseg.functional import where_chosen
from hieraseg.types import Probability, check_arguments
from hieraseg_plugins.transforms.noise import add_noise

# RGB -> YIQ (NTSC, FCC 1953). In YIQ a change of hue rotates the last two axes.
_GRAY = (0.299, 0.587, 0.114)
_YIQ = np.array([_GRAY, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
# In RGB and row by row: Y alone, I and Q alone, and I and Q after a quarter turn.
_MATRICES = [
    (np.linalg.inv(_YIQ) @ np.array(matrix) @ _YIQ).ravel().tolist()
    for matrix in (
        [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
    )
]


@check_arguments
class Photometric:
    """Color jitter or Gaussian noise, each in half of the chosen images; with `noise: 0`, jitter.

    Args:
        probability: probability that an image is changed.
        brightness: maximum relative change of brightness.
        contrast: maximum relative change of contrast.
        saturation: maximum relative change of saturation.
        hue: maximum change of hue, as a fraction of the color circle.
        noise: maximum standard deviation of the noise, for pixels in 0..1.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        probability: Probability = 0.5,
        brightness: Probability = 0.2,
        contrast: Probability = 0.2,
        saturation: Probability = 0.2,
        hue: Probability = 0.05,
        noise: Probability = 0.05,
    ) -> None:
        self.probability = probability
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.hue, self.noise = hue * 2 * math.pi, noise

    def __call__(
        self, images: Float[Tensor, "B 3 H W"], masks: Integer[Tensor, "B H W"], draws: Draws
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Change the colors of some images (see `hieraseg.Transform`)."""
        chosen = draws.chosen(self.probability)
        noisy = draws.chosen(0.5 if self.noise else 0)
        brightness, contrast, saturation = (
            draws.uniform(1 - change, 1 + change)
            for change in (self.brightness, self.contrast, self.saturation)
        )
        angle, deviation = draws.uniform(-self.hue, self.hue), draws.uniform(0, self.noise)
        jitter = brightness, contrast, saturation, angle
        images = where_chosen(chosen & ~noisy, _jittered, images, *jitter)
        if self.noise:
            images = where_chosen(chosen & noisy, add_noise, images, deviation, draws.seeds())
        return images, masks


def _jittered(
    images: Float[Tensor, "B 3 H W"],
    brightness: Float[Tensor, " B"],
    contrast: Float[Tensor, " B"],
    saturation: Float[Tensor, " B"],
    angle: Float[Tensor, " B"],
) -> Float[Tensor, "B 3 H W"]:
    """Apply brightness, contrast, saturation and hue as one affine function of RGB."""
    chroma = brightness * saturation
    color = _color_matrix(brightness, chroma * angle.cos(), chroma * angle.sin())
    # Saturation and hue leave the gray of a pixel as it is.
    red, green, blue = images.mean(dim=(2, 3)).unbind(1)
    mean = brightness * (_GRAY[0] * red + _GRAY[1] * green + _GRAY[2] * blue)
    offset = (mean * (1 - contrast))[:, None, None]
    changed = torch.baddbmm(offset, color * contrast[:, None, None], images.flatten(2))
    return changed.view_as(images).clamp_(0, 1)


def _color_matrix(
    gray: Float[Tensor, " B"], straight: Float[Tensor, " B"], turned: Float[Tensor, " B"]
) -> Float[Tensor, "B 3 3"]:
    """The sum of the three `_MATRICES` with these factors.

    Entry by entry, since a captured step cannot copy the matrices to the device.
    """
    entries = [
        gray * one + straight * two + turned * three
        for one, two, three in zip(*_MATRICES, strict=True)
    ]
    return torch.stack(entries, 1).unflatten(1, (3, 3))
