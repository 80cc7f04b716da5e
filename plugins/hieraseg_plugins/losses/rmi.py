"""Region mutual information between prediction and target."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.functional import denominator, level_terms
from hieraseg.types import PositiveFloat, PositiveInt, check_arguments


@check_arguments
class RegionMutualInformation(Loss):
    """Region mutual information loss, on the sigmoid of each class.

    The target Y (0 or 1) and the score P of a class are max-pooled, and each `radius` x `radius`
    region of the result is one point. The part of Y that a linear prediction from P does not
    explain has the covariance `M = S_yy - S_yp (S_pp + ridge)^-1 S_py`, where each S is summed
    over the points of an image. The loss is `log det(M + ridge) / (2 radius^2)`, the negative of
    a lower bound of the mutual information. Each level is summed over classes and averaged over
    the images that have a valid pixel. Void pixels are 0 in both Y and P.

    The loss is negative for good predictions: a class that does not occur in an image gives the
    minimum, `log(ridge) / 2`. Images that are too small for a region give 0. Combine it with a
    pixel-wise loss.

    Source: Zhao et al. 2019, "Region Mutual Information Loss for Semantic Segmentation",
    arXiv:1910.12037, and its released code.

    Args:
        hierarchy: the class tree.
        radius: side length of a region, in pooled pixels.
        stride: kernel size and stride of the pooling, in pixels; 1 for none.
        ridge: value added to the diagonals of the covariances. The paper's code uses 5e-4, that
            of `hssn` 1e-3.

    Raises:
        ValueError: an argument is not positive.
    """

    activation = "sigmoid"
    standalone = False  # scores that are wrong everywhere explain the labels equally well

    def __init__(
        self,
        hierarchy: Hierarchy,
        radius: PositiveInt = 3,
        stride: PositiveInt = 3,
        ridge: PositiveFloat = 5e-4,
    ) -> None:
        super().__init__()
        self.radius, self.stride, self.ridge = radius, stride, ridge

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `rmi_level1` and so on."""
        levels = zip(prediction.logits, targets.unbind(1), strict=True)
        return level_terms(
            "rmi", [self._level(logits.float(), target) for logits, target in levels]
        )

    def _level(
        self, logits: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"]
    ) -> Float[Tensor, ""]:
        pooled = [(side + 2 * (self.stride // 2)) // self.stride for side in target.shape[1:]]
        if min(pooled) < self.radius:
            return 0 * logits.sum()
        unexplained = _unexplained(logits, target, self.radius, self.stride, self.ridge)
        counted = (target != IGNORE_INDEX).flatten(1).any(1)
        total = torch.where(counted, unexplained, 0).sum() / self.radius**2
        return total / denominator(counted.sum())


# Operators, which a compiler does not look into: the points of all classes at once would be twenty
# times as large as the logits, and a loop over the classes a thousand times as long.
@torch.library.custom_op("hieraseg::rmi", mutates_args=())
def _unexplained(logits: Tensor, target: Tensor, radius: int, stride: int, ridge: float) -> Tensor:
    """log det(M + ridge) / 2, summed over the classes of each image, `[B]`."""
    total = logits.new_zeros(len(logits))
    for classes in _parts(logits):
        _, _, points = _points(logits, target, classes, radius, stride)
        # In the joint covariance, M + ridge is the Schur complement of the block of the scores,
        # so its Cholesky factor is the last block of the joint one.
        factor = _cholesky(points, ridge).diagonal(dim1=-2, dim2=-1)
        total += factor[..., radius**2 :].log().sum((1, 2)).float()
    return total


@torch.library.custom_op("hieraseg::rmi_backward", mutates_args=())
def _unexplained_backward(
    gradient: Tensor, logits: Tensor, target: Tensor, radius: int, stride: int, ridge: float
) -> Tensor:
    """Gradient of the logits from that of `_unexplained`."""
    slopes = torch.empty_like(logits)
    for classes in _parts(logits):
        own = _slopes(logits, target, classes, radius, stride, ridge)
        slopes[:, classes] = own.mul_(gradient.view(-1, 1, 1, 1))
    return slopes


@_unexplained.register_fake
def _(logits: Tensor, target: Tensor, radius: int, stride: int, ridge: float) -> Tensor:
    return logits.new_empty(len(logits))


@_unexplained_backward.register_fake
def _(
    gradient: Tensor, logits: Tensor, target: Tensor, radius: int, stride: int, ridge: float
) -> Tensor:
    return torch.empty_like(logits)


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, target, *ctx.settings = inputs
    ctx.save_for_backward(logits, target)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    slopes = _unexplained_backward(gradient, *ctx.saved_tensors, *ctx.settings)
    return slopes, None, None, None, None


_unexplained.register_autograd(_backward, setup_context=_set_up)


def _parts(logits: Float[Tensor, "B C H W"]) -> list[slice]:
    """Groups of classes to compute at once; with few classes, all of them."""
    classes = logits.shape[1]
    step = classes if classes < 64 else -(-classes // 256)
    return [slice(first, first + step) for first in range(0, classes, step)]


def _slopes(
    logits: Tensor, target: Tensor, classes: slice, radius: int, stride: int, ridge: float
) -> Tensor:
    """Derivatives of `_unexplained` by the logits of some classes, `[B, c, H, W]`."""
    scores, places, points = _points(logits, target, classes, radius, stride)
    # With the joint factor L, the determinant has the gradient R^T R of the covariance, where R
    # are the rows of L^-1 that belong to the target.
    factor = _cholesky(points, ridge)
    eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    rows = torch.linalg.solve_triangular(factor, eye, upper=False)[..., radius**2 :, :]
    of_points = rows[..., : radius**2].mT @ rows @ points
    del points
    of_pooled = F.fold(of_points.flatten(0, 1), places.shape[-2:], radius)
    of_scores = torch.zeros_like(scores).flatten(2)
    of_scores.scatter_(2, places.flatten(2), of_pooled.view_as(places).flatten(2).float())
    return of_scores.view_as(scores).mul_(scores).mul_(1 - scores)


def _points(
    logits: Tensor, target: Tensor, classes: slice, radius: int, stride: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of some classes `[B, c, H, W]`, where the highest of each pool is `[B, c, h, w]`, and
    the centred points `[B, c, 2 radius^2, points]`, with the values of the scores first."""
    valid = (target != IGNORE_INDEX)[:, None]
    scores = torch.where(valid, logits[:, classes].float().sigmoid(), 0)
    numbers = torch.arange(logits.shape[1], device=logits.device)[classes]
    truth = (target[:, None] == numbers.view(1, -1, 1, 1)).float()

    def pool(values: Tensor) -> tuple[Tensor, Tensor]:
        return F.max_pool2d(values, stride, stride, stride // 2, return_indices=True)

    pooled, places = pool(scores)
    regions = [
        values.unfold(2, radius, 1).unfold(3, radius, 1).permute(0, 1, 4, 5, 2, 3)
        for values in (pooled, pool(truth)[0])
    ]
    # In float64, as in the released code: the ridge is far below the rounding error of float32
    # for such sums.
    points = regions[0].new_empty(*scores.shape[:2], 2, *regions[0].shape[2:], dtype=torch.float64)
    for part, region in zip(points.unbind(2), regions, strict=True):
        part.copy_(region)
    points = points.flatten(2, 4).flatten(3)
    return scores, places, points.sub_(points.mean(3, keepdim=True))


def _cholesky(points: Tensor, ridge: float) -> Tensor:
    """Cholesky factor of the covariance of points, with a ridge; NaN where there is none."""
    eye = torch.eye(points.shape[2], dtype=points.dtype, device=points.device)
    factor, info = torch.linalg.cholesky_ex(points @ points.mT + ridge * eye)
    # Where scores are NaN, torch leaves the finite block of the target as it was.
    return factor.masked_fill(info[..., None, None] > 0, torch.nan)
