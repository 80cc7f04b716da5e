"""The prediction of a run as one module of tensors, which `torch.export` can trace."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import SymInt, Tensor, nn

from hieraseg.inference.scores import level_scores
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.segmentation import SegmentationModel


class ExportableModel(nn.Module):
    """Images -> logits, scores and classes, as a run predicts whole images.

    Normalization, padding, activation and inference rule are inside.

    Args:
        segmenter: the model in evaluation mode, without windows and test-time augmentation.
        stride: images are padded to a multiple of it; 1 for no padding.
    """

    def __init__(self, segmenter: Segmenter, stride: int) -> None:
        super().__init__()
        self.model = cast(SegmentationModel, segmenter.model)
        self.segmenter, self.stride = segmenter, stride
        # Makes the tensors of the tree, which those of a trace would replace.
        segmenter.hierarchy.on(self.model.mean.device)

    def forward(
        self, image: Float[Tensor, "B 3 H W"], size: Int[Tensor, " 2"] | None = None
    ) -> dict[str, Tensor]:
        """Predict images.

        Args:
            image: RGB in 0..1.
            size: height and width of the outputs; None for those of the image.

        Returns:
            `logits_level<l>` float `[B, C_l, h, w]` of each level that the model predicts,
            `scores_level<l>` in 0..1 of all levels, and `classes` int64 `[B, L, h, w]`.
        """
        height, width = image.shape[-2:]
        logits = self.model(self._padded(image)).logits
        if self.stride > 1:
            logits = tuple(level[..., :height, :width] for level in logits)
        if size is not None:
            logits = tuple(_resized(level, size) for level in logits)
        segmenter = self.segmenter
        scores = level_scores(logits, segmenter.activation, segmenter.hierarchy)
        outputs = (*logits, *scores, segmenter.rule(scores))
        return dict(zip(output_names(len(logits), len(scores)), outputs, strict=True))

    def _padded(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 _ _"]:
        """The image with the mean color at the bottom and on the right, as `PaddedModel` pads."""
        height, width = image.shape[-2:]
        rows, columns = (
            torch.arange(_rounded_up(side, self.stride), device=image.device)
            for side in (height, width)
        )
        repeated = image.index_select(2, rows.clamp(max=height - 1))
        repeated = repeated.index_select(3, columns.clamp(max=width - 1))
        inside = (rows < height)[:, None] & (columns < width)
        return torch.where(inside, repeated, self.model.mean)


def output_names(predicted: int, levels: int) -> list[str]:
    """Names of the outputs, in order.

    Args:
        predicted: number of levels whose logits the model predicts, the finest ones.
        levels: number of levels.
    """
    logits = (f"logits_level{level + 1}" for level in range(levels - predicted, levels))
    scores = (f"scores_level{level + 1}" for level in range(levels))
    return [*logits, *scores, "classes"]


def _rounded_up(side: int | SymInt, stride: int) -> int | SymInt:
    """A side, rounded up to a multiple of the stride."""
    if isinstance(side, int):
        return -(-side // stride) * stride
    # Read from a tensor, so that torch.export knows it for a multiple, and nothing else of it: of
    # an expression of the side, it would ask whether it is a single stride.
    count = ((torch.scalar_tensor(side, dtype=torch.int64) + stride - 1) // stride).item()
    padded = count * stride
    torch._check(count >= 1)
    torch._check(padded >= side)
    return cast(SymInt, padded)


def _resized(logits: Float[Tensor, "B C _ _"], size: Int[Tensor, " 2"]) -> Float[Tensor, "B C h w"]:
    height, width = size.tolist()
    torch._check(height >= 1)
    torch._check(width >= 1)
    return F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
