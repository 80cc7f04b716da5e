"""Region mutual information between prediction and target."""

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
        valid = (target != IGNORE_INDEX)[:, None]
        one_hot = torch.zeros_like(logits).scatter_(1, target.clamp(min=0)[:, None], 1.0)
        scores = self._regions(torch.where(valid, logits.sigmoid(), 0))
        points = torch.cat((scores, self._regions(torch.where(valid, one_hot, 0))), dim=2)
        unexplained = self._half_log_determinant(points).sum(1) / self.radius**2
        counted = valid.flatten(1).any(1) & (points.shape[3] > 0)
        return torch.where(counted, unexplained, 0).sum() / denominator(counted.sum())

    def _regions(self, level: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C area points"]:
        """Max-pool, then flatten each region into a column."""
        pooled = F.max_pool2d(level, self.stride, self.stride, padding=self.stride // 2)
        if min(pooled.shape[-2:]) < self.radius:
            return pooled.flatten(2)[:, :, None, :0].expand(-1, -1, self.radius**2, -1)
        regions = pooled.unfold(2, self.radius, 1).unfold(3, self.radius, 1)
        return regions.flatten(4).flatten(2, 3).mT

    def _half_log_determinant(
        self, points: Float[Tensor, "B C both points"]
    ) -> Float[Tensor, "B C"]:
        """log det(M + ridge) / 2, from points with the values of the scores before the target's.

        In the joint covariance of both, M + ridge is the Schur complement of the block of the
        scores, so its Cholesky factor is the last block of the joint one.
        """
        # In float64, as in the released code: the ridge is far below the rounding error of
        # float32 for such sums.
        points = points.double()
        points = points - points.sum(3, keepdim=True) / max(points.shape[3], 1)
        ridge = self.ridge * torch.eye(points.shape[2], dtype=points.dtype, device=points.device)
        factor = torch.linalg.cholesky_ex(points @ points.mT + ridge).L
        return factor.diagonal(dim1=-2, dim2=-1)[..., self.radius**2 :].log().sum(-1).float()
