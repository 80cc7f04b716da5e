"""Color jitter or noise."""

import math

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from hieraseg import Draws
from hieraseg.types import Probability, check_arguments

_GRAY = (0.299, 0.587, 0.114)
# RGB -> YIQ (NTSC, FCC 1953). In YIQ a change of hue rotates the last two axes.
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


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
        color, contrast = self._color_matrix(draws)
        deviation = draws.uniform(0, self.noise)
        images = self._jitter(images, chosen & ~noisy, color, contrast)
        if self.noise:
            deviation = torch.where(chosen & noisy, deviation, 0)[:, None, None, None]
            noised = (images + draws.noise(images.shape[1:]) * deviation).clamp_(0, 1)
            images = torch.where(deviation > 0, noised, images)
        return images, masks

    def _jitter(
        self,
        images: Float[Tensor, "B 3 H W"],
        chosen: Bool[Tensor, " B"],
        color: Float[Tensor, "B 3 3"],
        contrast: Float[Tensor, " B"],
    ) -> Float[Tensor, "B 3 H W"]:
        """Apply the matrices of the chosen images, and the identity to all others."""
        identity = torch.eye(3, device=images.device)
        color = torch.where(chosen[:, None, None], color, identity)
        contrast = torch.where(chosen, contrast, 1)[:, None, None]
        gray = torch.tensor(_GRAY, device=images.device) @ color
        mean = (gray * images.mean(dim=(2, 3))).sum(1)[:, None, None]
        changed = torch.baddbmm(mean * (1 - contrast), color * contrast, images.flatten(2))
        return changed.view_as(images).clamp_(0, 1)

    def _color_matrix(self, draws: Draws) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, " B"]]:
        """Brightness, saturation and hue as one matrix on RGB, and contrast, which is affine."""
        brightness = draws.uniform(1 - self.brightness, 1 + self.brightness)
        contrast = draws.uniform(1 - self.contrast, 1 + self.contrast)
        saturation = draws.uniform(1 - self.saturation, 1 + self.saturation)
        angle = draws.uniform(-self.hue, self.hue)
        chroma = torch.eye(3, device=draws.device).repeat(len(angle), 1, 1)
        chroma[:, 1, 1] = chroma[:, 2, 2] = angle.cos() * saturation
        chroma[:, 1, 2], chroma[:, 2, 1] = -angle.sin() * saturation, angle.sin() * saturation
        yiq = torch.tensor(_YIQ, device=draws.device)
        matrix = torch.linalg.inv(yiq) @ chroma @ yiq
        return matrix * brightness[:, None, None], contrast
