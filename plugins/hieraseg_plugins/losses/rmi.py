"""Region mutual information: the prediction has to explain how labels of neighbours vary."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction


class RegionMutualInformation(Loss):
    """Region mutual information loss, on the sigmoid of each class.

    Truth Y (0 or 1) and score P of a class are max-pooled, and each `radius` x `radius` region
    of the result is a point. What a linear prediction from P leaves unexplained of Y has the
    covariance `M = S_yy - S_yp (S_pp + ridge)^-1 S_py`, with S summed over an image's points;
    `log det(M + ridge) / (2 radius^2)` bounds the mutual information from below, but for its
    sign. Per level: sum over classes, mean over the images that have a valid pixel. Void pixels
    are 0 in both Y and P. The term is negative for a good prediction: a class that is nowhere in
    an image gives `log(ridge) / 2`, the least. An image too small for a region gives 0.

    The loss is meant to stand beside one that looks at each pixel.

    Source: Zhao et al. 2019, "Region Mutual Information Loss for Semantic Segmentation",
    arXiv:1910.12037, and its released code.

    Args:
        hierarchy: the class tree.
        radius: side of a region in pooled pixels.
        stride: side and step of the pooling in pixels; 1 for none.
        ridge: what is added to the diagonals. The paper's code has 5e-4, that of `hssn` 1e-3.

    Raises:
        ValueError: an argument out of its range.
    """

    activation = "sigmoid"
    standalone = False  # scores that are wrong everywhere explain the labels just as well

    def __init__(
        self, hierarchy: Hierarchy, radius: int = 3, stride: int = 3, ridge: float = 5e-4
    ) -> None:
        super().__init__()
        if radius < 1 or stride < 1:
            raise ValueError(f"radius is {radius} and stride is {stride}, but must be at least 1")
        if not 0 < ridge < float("inf"):
            raise ValueError(f"ridge is {ridge}, but must be a number above 0")
        self.radius, self.stride, self.ridge = radius, stride, ridge

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `rmi_level1` and so on."""
        return {
            f"rmi_level{level + 1}": self._level(logits.float(), targets[:, level])
            for level, logits in enumerate(prediction.logits)
        }

    def _level(
        self, logits: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"]
    ) -> Float[Tensor, ""]:
        valid = (target != IGNORE_INDEX)[:, None]
        truth = torch.zeros_like(logits).scatter_(1, target.clamp(min=0)[:, None], 1.0)
        scores = self._regions(torch.where(valid, logits.sigmoid(), 0))
        points = torch.cat((scores, self._regions(torch.where(valid, truth, 0))), dim=2)
        unexplained = self._half_log_determinant(points).sum(1) / self.radius**2
        seen = valid.flatten(1).any(1) & (points.shape[3] > 0)
        return torch.where(seen, unexplained, 0).sum() / seen.sum().clamp(min=1)

    def _regions(self, level: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C area points"]:
        """Each region's values, side by side."""
        pooled = F.max_pool2d(level, self.stride, self.stride, padding=self.stride // 2)
        if min(pooled.shape[-2:]) < self.radius:
            return pooled.flatten(2)[:, :, None, :0].expand(-1, -1, self.radius**2, -1)
        regions = pooled.unfold(2, self.radius, 1).unfold(3, self.radius, 1)
        return regions.flatten(4).flatten(2, 3).mT

    def _half_log_determinant(
        self, points: Float[Tensor, "B C both points"]
    ) -> Float[Tensor, "B C"]:
        """log det(M + ridge) / 2, of points that hold the scores' values first, then the truth's.

        With all of them in one covariance, M + ridge is the Schur complement of the scores'
        block, so its Cholesky factor is the last block of the whole's.
        """
        # In float64, as released: the ridge is far below float32's rounding of such sums.
        points = points.double()
        points = points - points.sum(3, keepdim=True) / max(points.shape[3], 1)
        ridge = self.ridge * torch.eye(points.shape[2], dtype=points.dtype, device=points.device)
        factor = torch.linalg.cholesky_ex(points @ points.mT + ridge).L
        return factor.diagonal(dim1=-2, dim2=-1)[..., self.radius**2 :].log().sum(-1).float()
