"""The tree-triplet loss: nearby classes get more similar embeddings than distant ones."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import ramp, random_order
from hieraseg.types import NonNegativeFloat, PositiveInt, Probability, check_arguments

_EXCLUDED = -1  # shared levels of a class with itself, and of background with any class


class Triplets(NamedTuple):
    """A fixed number of slots for triplets, some of them unused.

    Attributes:
        anchor, positive, negative: index of a pixel; arbitrary in unused slots.
        label: class of the anchor.
        weight: weight of the slot in the loss, 0 if unused; weights add up to 1, or to 0 if there
            are no triplets.
    """

    anchor: Int[Tensor, " T"]
    positive: Int[Tensor, " T"]
    negative: Int[Tensor, " T"]
    label: Int[Tensor, " T"]
    weight: Float[Tensor, " T"]


@check_arguments
class TreeTriplet(Loss):
    """Tree-triplet loss, which arranges pixel embeddings according to the class tree.

    A pixel of a leaf class (anchor) should be closer to a pixel of its nearest classes (positive:
    the other leaves below its lowest ancestor that has any) than to a pixel of any other class
    (negative): `relu(d(anchor, positive) - d(anchor, negative) + margin)` with d = 1 - cosine
    similarity, averaged over the triplets of a class, then over the classes that have triplets.
    With t the progress of training, the weight grows as `(1 + cos((t - ramp) / ramp * pi)) / 4`
    from 0 to 0.5, and stays there.

    Pixels are sampled from all images of the batch, or of its part that a process has; the i-th
    anchor is combined with the i-th positive and the i-th negative. Void and background pixels,
    and pixels whose leaf is unknown, are excluded. Targets are resized to the size of the
    embedding by nearest-neighbour sampling. The loss does not train logits: use it within `sum`
    or `hssn`.

    Source: Li et al. 2022, "Deep Hierarchical Semantic Segmentation", arXiv:2203.14335. The
    released code uses the first pixels of each class instead of a sample, and allows void pixels
    as negatives.

    Args:
        hierarchy: the class tree.
        samples: maximum number of triplets per class.
        margin: constant margin; null for a margin that depends on the tree: 0.1 plus half of the
            difference (in edges) between the tree distances to the negative and to the positive
            class, divided by the height of the smallest subtree with all classes except
            background. In the published trees it is 0.6 everywhere, the constant in the released
            code.
        ramp: fraction of training after which the weight is 0.5; 0 for a constant weight.
        channels: number of embedding channels D.
        seed: random seed of the sampling, which also depends on the progress, but on nothing else.

    Raises:
        ValueError: an argument is out of range.
    """

    levels = "none"
    paths: Int[Tensor, "leaves levels"]
    included: Bool[Tensor, " leaves"]
    nearest: Int[Tensor, " leaves"]

    def __init__(
        self,
        hierarchy: Hierarchy,
        samples: PositiveInt = 200,
        margin: NonNegativeFloat | None = None,
        ramp: Probability = 1.0,
        channels: PositiveInt = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.samples, self.margin, self.ramp, self.seed = samples, margin, ramp, seed
        self.embedding_channels = channels
        included = torch.ones(len(hierarchy.paths), dtype=torch.bool)
        background = hierarchy.background_index(-1)
        if background is not None:
            included[background] = False
        # Number of included leaves in the subtrees of each leaf's ancestors, coarsest first.
        sizes = [
            ancestor[included].bincount(minlength=len(included))[ancestor]
            for ancestor in hierarchy.paths.T
        ]
        self.register_buffer("paths", hierarchy.paths, persistent=False)
        self.register_buffer("included", included, persistent=False)
        self.register_buffer("nearest", torch.stack(sizes).gt(1).sum(0), persistent=False)
        shared_by_all = sum(bool((size[included] == included.sum()).all()) for size in sizes)
        self.height = max(hierarchy.num_levels - shared_by_all, 1)

    def forward(
        self,
        prediction: Prediction,
        targets: Int[Tensor, "B levels H W"],
        progress: Float[Tensor, ""] | float = 1.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `tree_triplet`.

        Raises:
            ValueError: the prediction has no embedding.
        """
        embedding = prediction.embedding
        if embedding is None:
            raise ValueError(
                "tree_triplet needs an embedding, but the decoder does not provide one"
            )
        size = (embedding.shape[-2], embedding.shape[-1])
        labels = F.interpolate(targets[:, -1:].float(), size, mode="nearest").long().flatten()
        order = random_order(len(labels), self.seed, progress).to(labels.device)
        triplets = self._triplets(labels, order)
        pixels = embedding.float().movedim(1, -1).flatten(0, 2)
        anchor = pixels[triplets.anchor]
        # d(anchor, positive) - d(anchor, negative), in which the ones of 1 - cosine cancel out.
        difference = F.cosine_similarity(anchor, pixels[triplets.negative]) - F.cosine_similarity(
            anchor, pixels[triplets.positive]
        )
        cost = F.relu(difference + self._margins(triplets, labels.clamp(min=0)))
        weight = 0.5 * ramp(progress, 0, self.ramp)
        return {"tree_triplet": weight * (triplets.weight * cost).sum()}

    def _triplets(self, labels: Int[Tensor, " N"], order: Int[Tensor, " N"]) -> Triplets:
        """Triplets of all classes, from the pixels that come first in a random order."""
        labels = labels[order]
        classes = torch.arange(len(self.paths), device=labels.device)[:, None]
        shared = torch.where(
            labels >= 0, self._shared_levels(classes, labels.clamp(min=0)), _EXCLUDED
        )
        nearest = self.nearest[:, None]
        limit = min(self.samples, len(labels))
        roles = [
            _first_true(mask, limit)
            for mask in (
                labels == classes,
                (shared != _EXCLUDED) & (shared == nearest),
                (shared != _EXCLUDED) & (shared < nearest),
            )
        ]
        count = torch.stack([count for _, count in roles]).amin(0)
        used = torch.arange(limit, device=labels.device) < count[:, None]
        weight = used / (count[:, None] * (count > 0).sum()).clamp(min=1)
        # Each anchor is in one triplet, so as many slots as pixels are enough. Used slots are
        # sorted to the front: counting them would make the host wait for the device.
        slots = used.flatten().int().argsort(descending=True, stable=True)[: len(labels)]
        anchor, positive, negative = (order[columns].flatten()[slots] for columns, _ in roles)
        label = classes.expand_as(used).flatten()[slots]
        return Triplets(anchor, positive, negative, label, weight.flatten()[slots])

    def _margins(
        self, triplets: Triplets, labels: Int[Tensor, " N"]
    ) -> Float[Tensor, " T"] | float:
        if self.margin is not None:
            return self.margin
        positive = self._shared_levels(triplets.label, labels[triplets.positive])
        negative = self._shared_levels(triplets.label, labels[triplets.negative])
        # Each level that is not shared adds two edges to a distance, of which half count.
        return 0.1 + (positive - negative).float() / self.height

    def _shared_levels(
        self, one: Int[Tensor, "*shape"], other: Int[Tensor, "*other_shape"]
    ) -> Int[Tensor, "*result"]:
        """Number of levels on which two leaves have the same class; -1 for excluded pairs.

        Not a table, which would grow with the square of the number of leaves.
        """
        shared = sum((ancestor[one] == ancestor[other]).byte() for ancestor in self.paths.T)
        pairs = self.included[one] & self.included[other] & (one != other)
        return torch.where(pairs, shared.char(), _EXCLUDED)


def _first_true(
    mask: Bool[Tensor, "C N"], limit: int
) -> tuple[Int[Tensor, "C limit"], Int[Tensor, " C"]]:
    """Columns of the first True values of each row, and how many there are, up to `limit`."""
    countdown = torch.arange(mask.shape[1], 0, -1, device=mask.device)
    return (mask * countdown).topk(limit).indices, mask.sum(1).clamp(max=limit)
