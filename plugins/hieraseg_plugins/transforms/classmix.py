"""ClassMix."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from hieraseg import Draws, Hierarchy
from hieraseg.types import Probability, check_arguments


@check_arguments
class ClassMix:
    """Half of the classes of another image of the batch are pasted into some images.

    V. Olsson, W. Tranheden, J. Pinto, L. Svensson: ClassMix: Segmentation-Based Data Augmentation
    for Semi-Supervised Learning. WACV 2021, arXiv:2007.07936. Here, labels are the target's. The
    classes are drawn from the label values of the other image, rounded up; void is never pasted.
    With several processes, the other image is one of the same process.

    Args:
        hierarchy: supplied by the runner.
        probability: probability that classes are pasted into an image.

    Raises:
        ValueError: an argument is out of range.
    """

    mixes = True

    def __init__(self, hierarchy: Hierarchy, probability: Probability = 0.5) -> None:
        self.probability = probability
        self.classes = len(hierarchy.labels)
        # All other values, such as void, are one more class, which is never pasted.
        class_of = torch.full((max(hierarchy.labels) + 2,), self.classes)
        class_of[sorted(hierarchy.labels)] = torch.arange(self.classes)
        self._class_of = {torch.device("cpu"): class_of}  # on each device that it is used on

    def __call__(
        self, images: Float[Tensor, "B 3 H W"], masks: Integer[Tensor, "B H W"], draws: Draws
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Paste classes into some images (see `hieraseg.Transform`)."""
        chosen = draws.chosen(self.probability)[:, None, None]
        steps = 1 + (draws.uniform(0, 1) * (draws.images - 1)).floor().long()
        other = (torch.arange(draws.images, device=draws.device) + steps) % draws.images
        pasted = chosen & self._pasted(masks[other], draws)
        images = torch.where(pasted[:, None], images[other], images)
        return images, torch.where(pasted, masks[other], masks)

    def _pasted(self, masks: Integer[Tensor, "B H W"], draws: Draws) -> Bool[Tensor, "B H W"]:
        """Whether each pixel is of the drawn half of the classes of its image."""
        order = torch.stack([draws.uniform(0, 1) for _ in range(self.classes)], 1)
        class_of = self._table(draws.device)
        classes = class_of[masks.long().clamp(max=len(class_of) - 1)].flatten(1)
        shape = (len(masks), self.classes + 1)
        present = torch.zeros(shape, dtype=torch.bool, device=draws.device)
        present = present.scatter_(1, classes, True)[:, :-1]
        order = order.masked_fill(~present, 1.0)  # absent ones last
        rank = order.argsort(dim=1, stable=True).argsort(dim=1)
        half = (present.sum(1, keepdim=True) + 1) // 2
        drawn = F.pad(present & (rank < half), (0, 1))
        return drawn.gather(1, classes).view(masks.shape)

    def _table(self, device: torch.device) -> Int[Tensor, " values"]:
        """The class of each label value, on a device. It is copied on the first call."""
        if device not in self._class_of:
            self._class_of[device] = self._class_of[torch.device("cpu")].to(device)
        return self._class_of[device]
