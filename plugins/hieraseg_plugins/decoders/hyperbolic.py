"""The hyperbolic decoder: pixel embeddings in a Poincaré ball, one gyroplane per class."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hieraseg import Prediction
from hieraseg.types import PositiveFloat, PositiveInt, check_arguments

MAX_RADIUS = math.atanh(1 - 1e-3)
"""Largest distance from the origin, in units of 1/sqrt(curvature). Points further out are clipped,
as in the released code, since float32 cannot tell them from the rim of the ball."""


@check_arguments
class HyperbolicDecoder(nn.Module):
    """Classification of pixels in hyperbolic space, at the backbone's finest stride.

    The stages are fused from the last to the finest: a 1x1 convolution projects each one to
    `width` channels, and the upsampled sum of the coarser stages is added. A 3x3 convolution with
    batch normalization and ReLU and a 1x1 convolution give a vector per pixel, which the
    exponential map at the origin projects into the Poincaré ball. The logit of a class is the
    length of its normal times the pixel's signed distance from the gyroplane of the class.

    Source: Atigh et al. 2022, "Hyperbolic Image Segmentation", arXiv:2203.05898, with the
    classifier of Ganea et al. 2018, arXiv:1805.09112, equation 25. They train the curvature, and
    train the offsets with a Riemannian optimizer. Here the curvature is fixed, and an offset is
    the exponential map of a vector, so that any optimizer works. Vectors are divided by the square
    root of their dimension, so that pixels start away from the rim of the ball.

    Args:
        channels: channels of the backbone's feature maps, finest first.
        num_classes: classes of each level, coarsest first.
        width: channels of the fused features.
        dimensions: dimension of the ball. The paper uses 256, and 2 to 10 for small models.
        curvature: c; the ball has the radius 1/sqrt(c).

    Raises:
        ValueError: an argument is not positive.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: Sequence[int],
        width: PositiveInt = 256,
        dimensions: PositiveInt = 256,
        curvature: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = list(num_classes)
        self.scale = 1 / math.sqrt(dimensions)
        self.laterals = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in channels)
        self.head = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, dimensions, 1),
        )
        self.gyroplanes = Gyroplanes(sum(num_classes), dimensions, curvature)

    def forward(self, pyramid: Sequence[Float[Tensor, "B _ _ _"]]) -> Prediction:
        """Logits of each level, at the finest stage's stride."""
        features = self.laterals[-1](pyramid[-1])
        for stage in range(len(pyramid) - 2, -1, -1):
            skip = self.laterals[stage](pyramid[stage])
            features = skip + F.interpolate(features, skip.shape[-2:], mode="bilinear")
        logits = self.gyroplanes(self.scale * self.head(features).float())
        return Prediction(logits.split(self.num_classes, dim=1))


class Gyroplanes(nn.Module):
    """Multinomial logistic regression on a Poincaré ball, one gyroplane per class.

    A gyroplane passes through a point of the ball, its offset, perpendicular to its normal. The
    normals are given at the origin and transported to the offset, so that the logit is
    `2 |a| / sqrt(c) asinh(...)`.

    Args:
        classes: number of gyroplanes.
        dimensions: dimension of the ball.
        curvature: curvature c of the ball.
    """

    def __init__(self, classes: int, dimensions: int, curvature: float) -> None:
        super().__init__()
        self.root = math.sqrt(curvature)
        self.offsets = nn.Parameter(torch.zeros(classes, dimensions))
        self.normals = nn.Parameter(torch.randn(classes, dimensions) / math.sqrt(dimensions))

    def forward(self, vectors: Float[Tensor, "B D H W"]) -> Float[Tensor, "B classes H W"]:
        """Logits, computed in float32 even under autocast.

        With the point x and the offset p on the hyperboloid, the argument of asinh in equation 25
        is linear in x. This avoids a Möbius addition for each pixel and class, and a division by
        the distance from the rim.

        Args:
            vectors: tangent vectors at the origin.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            height, space = _to_hyperboloid(self.root * vectors.float())
            offset_height, offset = _to_hyperboloid(self.root * self.offsets.float())
            normals = F.normalize(self.normals.float(), dim=1)
            along = (offset * normals).sum(1, keepdim=True)
            weights = normals + along / (1 + offset_height) * offset
            # Not a convolution, which may round to TF32 on CUDA.
            side = torch.einsum("nd,bdhw->bnhw", weights, space) - along[..., None] * height
            length = self.normals.float().norm(dim=1)[:, None, None]
            return 2 / self.root * length * side.asinh()


def _to_hyperboloid(
    vectors: Float[Tensor, "N D *size"],
) -> tuple[Float[Tensor, "N 1 *size"], Float[Tensor, "N D *size"]]:
    """Exponential map at the origin, in coordinates (height, space) of the unit hyperboloid.

    A vector of length r is mapped to `tanh(r)` in the unit ball, the stereographic projection of
    `(cosh(2 r), sinh(2 r))`.
    """
    # The minimum keeps the map differentiable at the origin, and is too small to change a logit.
    length = vectors.square().sum(1, keepdim=True).clamp(min=1e-12).sqrt()
    twice = 2 * length.clamp(max=MAX_RADIUS)
    return twice.cosh(), twice.sinh() / length * vectors
