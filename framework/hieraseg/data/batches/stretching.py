"""Training images that are stretched to the input size: random crop, flip and affine transform."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from hieraseg.draws import Draws
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Augmentation


class Stretching:
    """Random geometry of images that all have the input size.

    Crop, flip and affine transform are composed into one sampling of the image (bilinear) and of
    the mask (nearest). Pixels outside the image are reflected; like a flip, this swaps the labels
    of left and right classes.

    Args:
        settings: which random changes are made.
        hierarchy: the class tree; defines left and right classes.
    """

    def __init__(self, settings: Augmentation, hierarchy: Hierarchy) -> None:
        self.settings = settings
        self.hierarchy = hierarchy

    def __call__(
        self, images: UInt8[Tensor, "B 3 H W"], masks: Integer[Tensor, "B H W"], draws: Draws
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Return changed copies of images, as float32 in 0..1, and of their masks."""
        settings = self.settings
        pixels = images.float().div_(255)
        height, width = images.shape[-2:]
        crop, flip = self._crop(draws), _flip(draws, settings.flip)
        # Each matrix maps output to input coordinates in -1..1, so the last transform comes first.
        theta = _product(_product(crop, flip), self._affine(draws, height / width))
        if not (settings.crop or settings.flip or settings.affine):
            return pixels, masks
        theta = theta[:, None, None, :2]
        x, y = _centers(width, draws)[:, None], _centers(height, draws)[:, None, None]
        grid = theta[..., 0] * x + (theta[..., 1] * y + theta[..., 2])
        pixels = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
        labels = F.grid_sample(
            masks[:, None].float(),
            grid,
            mode="nearest",
            padding_mode="reflection",
            align_corners=False,
        )
        masks = labels[:, 0].to(masks.dtype)
        if self.hierarchy.pairs:
            # The image covers -1..1, and each next interval of this size is a mirror image of
            # the one before, across as well as down.
            reflections = ((grid + 1) / 2).floor().sum(-1)
            flips = (flip[:, 0, 0] < 0)[:, None, None]
            mirrored = (reflections + flips) % 2 == 1
            masks = torch.where(mirrored, swap_sides(masks, self.hierarchy), masks)
        return pixels, masks

    def _crop(self, draws: Draws) -> Float[Tensor, "B 3 3"]:
        settings = self.settings
        chosen = draws.chosen(settings.crop)
        area = draws.uniform(*settings.crop_scale)
        low, high = settings.crop_ratio
        ratio = draws.uniform(math.log(low), math.log(high)).exp()
        ratio = ratio.clamp(area, 1 / area)  # neither wider nor higher than the image
        across, down = (area * ratio).sqrt(), (area / ratio).sqrt()
        theta = _identity(draws)
        theta[:, 0, 0], theta[:, 1, 1] = across, down
        theta[:, 0, 2] = draws.uniform(-1, 1) * (1 - across)
        theta[:, 1, 2] = draws.uniform(-1, 1) * (1 - down)
        return torch.where(chosen[:, None, None], theta, _identity(draws))

    def _affine(self, draws: Draws, aspect: float) -> Float[Tensor, "B 3 3"]:
        settings = self.settings
        chosen = draws.chosen(settings.affine)
        largest = math.radians(settings.rotate)
        angle = draws.uniform(-largest, largest)
        zoom = 1 / draws.uniform(*settings.scale)
        theta = _identity(draws)
        # Both axes run from -1 to 1, so a rotation has to compensate for the aspect ratio.
        theta[:, 0, 0] = theta[:, 1, 1] = angle.cos() * zoom
        theta[:, 0, 1] = -angle.sin() * zoom * aspect
        theta[:, 1, 0] = angle.sin() * zoom / aspect
        theta[:, 0, 2] = draws.uniform(-2 * settings.shift, 2 * settings.shift)
        theta[:, 1, 2] = draws.uniform(-2 * settings.shift, 2 * settings.shift)
        return torch.where(chosen[:, None, None], theta, _identity(draws))


def swap_sides(masks: Integer[Tensor, "B H W"], hierarchy: Hierarchy) -> Integer[Tensor, "B H W"]:
    """Masks whose left and right labels are swapped. Values that are no label are kept."""
    mirrored_labels = hierarchy.on(masks.device).mirrored_labels
    count = 256 if masks.dtype == torch.uint8 else 65_536
    values = torch.arange(count, device=masks.device)
    known = mirrored_labels[:count]
    values[: len(known)] = known
    return values.to(masks.dtype)[masks.long()]


def _product(first: Float[Tensor, "B 3 3"], second: Float[Tensor, "B 3 3"]) -> Tensor:
    """The product of matrices, for which CUDA may not use TF32, as it may for `@`."""
    return (first[..., None] * second[:, None]).sum(2)


def _flip(draws: Draws, probability: float) -> Float[Tensor, "B 3 3"]:
    theta = _identity(draws)
    theta[:, 0, 0] = 1 - 2 * draws.chosen(probability).float()
    return theta


def _identity(draws: Draws) -> Float[Tensor, "B 3 3"]:
    return torch.eye(3, device=draws.device).repeat(draws.images, 1, 1)


def _centers(side: int, draws: Draws) -> Float[Tensor, " side"]:
    """Coordinates of the pixel centers along a side, in -1..1."""
    return (2 * torch.arange(side, device=draws.device) + 1) / side - 1
