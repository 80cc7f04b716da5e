"""Random augmentation of whole batches, on the training device.

Random numbers are drawn for the batch of all processes, and each process uses those of its own
images. So the number of processes does not change the augmentation of an image.
"""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Integer, Shaped, UInt8
from torch import Tensor

from hieraseg.processes import own_share
from hieraseg.types import (
    Ascending,
    NonNegativeFloat,
    PositiveFloat,
    Probability,
    Range,
    check_arguments,
)

_NUMBERS = 20  # random numbers per image
_Area = Annotated[float, Range(gt=0, le=1)]
_GRAY = (0.299, 0.587, 0.114)
# RGB -> YIQ (NTSC, FCC 1953). In YIQ a change of hue rotates the last two axes.
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@check_arguments
class Augmentation:
    """Random crop, flip, affine transform, color jitter or noise, and blur.

    The geometric transforms are composed into one sampling of the image (bilinear) and of the
    mask (nearest). Pixels outside the image are reflected; like a flip, this swaps the labels of
    left and right classes.

    Args:
        crop: probability of a random resized crop.
        flip: probability of a horizontal flip.
        affine: probability of a random shift, scale and rotation about the center.
        photometric: probability of color jitter or noise, each in half of the cases.
        blur: probability of a Gaussian blur.
        crop_scale: minimum and maximum area of the crop, relative to the image.
        crop_ratio: minimum and maximum aspect ratio of the crop, relative to the image.
        shift: maximum shift, relative to the width and height.
        scale: maximum relative change of scale.
        rotate: maximum angle in degrees.
        brightness: maximum relative change of brightness.
        contrast: maximum relative change of contrast.
        saturation: maximum relative change of saturation.
        hue: maximum change of hue, as a fraction of the color circle.
        noise: maximum standard deviation of Gaussian noise, for pixels in 0..1.
        blur_sigma: minimum and maximum standard deviation of the blur in pixels.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        crop: Probability = 0.5,
        flip: Probability = 0.5,
        affine: Probability = 0.5,
        photometric: Probability = 0.5,
        blur: Probability = 0.5,
        crop_scale: Annotated[tuple[_Area, _Area], Ascending()] = (0.8, 1.0),
        crop_ratio: Annotated[tuple[PositiveFloat, PositiveFloat], Ascending()] = (3 / 4, 4 / 3),
        shift: Probability = 0.1,
        scale: Annotated[float, Range(ge=0, lt=1)] = 0.15,
        rotate: NonNegativeFloat = 30.0,
        brightness: Probability = 0.2,
        contrast: Probability = 0.2,
        saturation: Probability = 0.2,
        hue: Probability = 0.05,
        noise: Probability = 0.05,
        blur_sigma: Annotated[tuple[PositiveFloat, PositiveFloat], Ascending()] = (0.1, 1.5),
    ) -> None:
        self.probabilities = {
            "crop": crop,
            "flip": flip,
            "affine": affine,
            "photometric": photometric,
            "blur": blur,
        }
        self.flips = flip > 0
        self.crop_scale, self.crop_ratio = crop_scale, crop_ratio
        self.shift, self.scale, self.rotate = shift, scale, math.radians(rotate)
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.hue, self.noise, self.blur_sigma = hue * 2 * math.pi, noise, blur_sigma

    def __call__(
        self,
        images: UInt8[Tensor, "B 3 H W"],
        masks: Integer[Tensor, "B H W"],
        generator: torch.Generator,
        rank: int = 0,
        processes: int = 1,
        mirrored_labels: Int[Tensor, " values"] | None = None,
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        """Return augmented copies of images, as float32 in 0..1, and of their masks.

        Args:
            images: the images of this process.
            masks: their label values.
            generator: a CPU generator, in the same state in all processes (see `sampling`).
            rank: index of this process.
            processes: number of processes that share the batch.
            mirrored_labels: each label value after a flip or a reflection, for class trees with
                left and right classes (see `Hierarchy`). Larger values are kept.
        """
        drawn = _Draws(generator, len(images), rank, processes, images.device)
        pixels = images.float().div_(255)
        pixels, masks = self._geometry(pixels, masks, drawn, mirrored_labels)
        pixels = self._photometry(pixels, drawn)
        return self._blur(pixels, drawn), masks

    def _geometry(
        self,
        images: Float[Tensor, "B 3 H W"],
        masks: Integer[Tensor, "B H W"],
        drawn: "_Draws",
        mirrored_labels: Int[Tensor, " values"] | None,
    ) -> tuple[Float[Tensor, "B 3 H W"], Integer[Tensor, "B H W"]]:
        height, width = images.shape[-2:]
        crop, flip = self._crop(drawn), self._flip(drawn)
        # Each matrix maps output to input coordinates in -1..1, so the last transform comes first.
        theta = crop @ flip @ self._affine(drawn, height / width)
        if not any(self.probabilities[key] for key in ("crop", "flip", "affine")):
            return images, masks
        theta = drawn.to_device(theta[:, None, None, :2])
        x, y = _centers(width, drawn)[:, None], _centers(height, drawn)[:, None, None]
        grid = theta[..., 0] * x + (theta[..., 1] * y + theta[..., 2])
        images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        labels = F.grid_sample(
            masks[:, None].float(),
            grid,
            mode="nearest",
            padding_mode="reflection",
            align_corners=False,
        )
        masks = labels[:, 0].to(masks.dtype)
        if mirrored_labels is not None:
            # The image covers -1..1, and each next interval of this size is a mirror image of
            # the one before, across as well as down.
            reflections = ((grid + 1) / 2).floor().sum(-1)
            flips = drawn.to_device(flip[:, 0, 0] < 0)[:, None, None]
            mirrored = (reflections + flips) % 2 == 1
            masks = torch.where(mirrored, _swap(masks, mirrored_labels), masks)
        return images, masks

    def _crop(self, drawn: "_Draws") -> Float[Tensor, "B 3 3"]:
        chosen = drawn.chosen(self.probabilities["crop"])
        area = drawn.uniform(*self.crop_scale)
        ratio = drawn.uniform(math.log(self.crop_ratio[0]), math.log(self.crop_ratio[1])).exp()
        ratio = ratio.clamp(area, 1 / area)  # neither wider nor higher than the image
        across, down = (area * ratio).sqrt(), (area / ratio).sqrt()
        theta = drawn.identity()
        theta[:, 0, 0], theta[:, 1, 1] = across, down
        theta[:, 0, 2] = drawn.uniform(-1, 1) * (1 - across)
        theta[:, 1, 2] = drawn.uniform(-1, 1) * (1 - down)
        return torch.where(chosen[:, None, None], theta, drawn.identity())

    def _flip(self, drawn: "_Draws") -> Float[Tensor, "B 3 3"]:
        theta = drawn.identity()
        theta[:, 0, 0] = 1 - 2 * drawn.chosen(self.probabilities["flip"]).float()
        return theta

    def _affine(self, drawn: "_Draws", aspect: float) -> Float[Tensor, "B 3 3"]:
        chosen = drawn.chosen(self.probabilities["affine"])
        angle = drawn.uniform(-self.rotate, self.rotate)
        zoom = 1 / drawn.uniform(1 - self.scale, 1 + self.scale)
        theta = drawn.identity()
        # Both axes run from -1 to 1, so a rotation has to compensate for the aspect ratio.
        theta[:, 0, 0] = theta[:, 1, 1] = angle.cos() * zoom
        theta[:, 0, 1] = -angle.sin() * zoom * aspect
        theta[:, 1, 0] = angle.sin() * zoom / aspect
        theta[:, 0, 2] = drawn.uniform(-2 * self.shift, 2 * self.shift)
        theta[:, 1, 2] = drawn.uniform(-2 * self.shift, 2 * self.shift)
        return torch.where(chosen[:, None, None], theta, drawn.identity())

    def _photometry(
        self, images: Float[Tensor, "B 3 H W"], drawn: "_Draws"
    ) -> Float[Tensor, "B 3 H W"]:
        chosen = drawn.chosen_in_batch(self.probabilities["photometric"])
        noisy = drawn.chosen_in_batch(0.5)
        color, contrast = self._color_matrix(drawn)
        deviation = drawn.uniform(0, self.noise)
        jittered = drawn.own(chosen & ~noisy).nonzero()[:, 0]
        if len(jittered):
            rows = drawn.to_device(jittered)
            pixels = images[rows]
            color = drawn.to_device(color[jittered])
            contrast = drawn.to_device(contrast[jittered])[:, None, None]
            gray = drawn.to_device(torch.tensor(_GRAY)) @ color
            mean = (gray * pixels.mean(dim=(2, 3))).sum(1)[:, None, None]
            changed = torch.baddbmm(mean * (1 - contrast), color * contrast, pixels.flatten(2))
            images[rows] = changed.view_as(pixels).clamp_(0, 1)
        noised = drawn.own(chosen & noisy).nonzero()[:, 0]
        if len(noised):
            rows = drawn.to_device(noised)
            deviation = drawn.to_device(deviation[noised])[:, None, None, None]
            noise = drawn.noise(chosen & noisy, images.shape[1:])
            images[rows] = (images[rows] + noise * deviation).clamp_(0, 1)
        return images

    def _color_matrix(self, drawn: "_Draws") -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, " B"]]:
        """Brightness, saturation and hue as one matrix on RGB, and contrast, which is affine."""
        brightness = drawn.uniform(1 - self.brightness, 1 + self.brightness)
        contrast = drawn.uniform(1 - self.contrast, 1 + self.contrast)
        saturation = drawn.uniform(1 - self.saturation, 1 + self.saturation)
        angle = drawn.uniform(-self.hue, self.hue)
        chroma = drawn.identity()
        chroma[:, 1, 1] = chroma[:, 2, 2] = angle.cos() * saturation
        chroma[:, 1, 2], chroma[:, 2, 1] = -angle.sin() * saturation, angle.sin() * saturation
        yiq = torch.tensor(_YIQ)
        matrix = torch.linalg.inv(yiq) @ chroma @ yiq
        return matrix * brightness[:, None, None], contrast

    def _blur(self, images: Float[Tensor, "B 3 H W"], drawn: "_Draws") -> Float[Tensor, "B 3 H W"]:
        chosen = drawn.chosen(self.probabilities["blur"])
        sigma = drawn.uniform(*self.blur_sigma)
        blurred = chosen.nonzero()[:, 0]
        radius = min(math.ceil(2 * self.blur_sigma[1]), *(side - 1 for side in images.shape[-2:]))
        if not len(blurred) or radius == 0:
            return images
        rows = drawn.to_device(blurred)
        offsets = torch.arange(-radius, radius + 1, device=images.device)
        weights = torch.exp(-0.5 * (offsets / drawn.to_device(sigma[blurred])[:, None]) ** 2)
        weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None, None]
        planes = images[rows].flatten(0, 1)[None]
        padded = F.pad(planes, [radius] * 4, mode="reflect")
        across = F.conv2d(padded, weights, groups=len(weights))
        down = F.conv2d(across, weights.transpose(2, 3), groups=len(weights))
        images[rows] = down[0].unflatten(0, (len(rows), 3))
        return images


class _Draws:
    """The random numbers of this process's B images, taken from those of the whole batch."""

    def __init__(
        self,
        generator: torch.Generator,
        images: int,
        rank: int,
        processes: int,
        device: torch.device,
    ) -> None:
        self.images, self.rank, self.processes, self.device = images, rank, processes, device
        self.noise_seed = int(torch.randint(1 << 62, (), generator=generator))
        # Filled row by row: the numbers of an image do not depend on the images after it.
        numbers = torch.rand(images * processes, _NUMBERS, generator=generator)
        self.numbers = iter(numbers.unbind(1))

    def own(self, values: Shaped[Tensor, " batch"]) -> Shaped[Tensor, " B"]:
        """Those values of the whole batch that belong to the images of this process."""
        return own_share(values, self.rank, self.processes)

    def uniform(self, low: float, high: float) -> Float[Tensor, " B"]:
        return low + (high - low) * self.own(next(self.numbers))

    def chosen(self, probability: float) -> Bool[Tensor, " B"]:
        return self.own(self.chosen_in_batch(probability))

    def chosen_in_batch(self, probability: float) -> Bool[Tensor, " batch"]:
        return next(self.numbers) < probability

    def noise(
        self, chosen: Bool[Tensor, " batch"], shape: torch.Size
    ) -> Float[Tensor, "chosen 3 H W"]:
        """Standard normal noise for the chosen images of this process, at least one."""
        generator = torch.Generator(self.device).manual_seed(self.noise_seed)
        noise = []
        for row in chosen.nonzero()[:, 0].tolist():
            # That of other processes is drawn too, since each image goes on where the last ended.
            of_image = torch.randn(shape, generator=generator, device=self.device)
            if row % self.processes == self.rank:
                noise.append(of_image)
        return torch.stack(noise)

    def identity(self) -> Float[Tensor, "B 3 3"]:
        return torch.eye(3).repeat(self.images, 1, 1)

    def to_device(self, values: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Copy values to the device of the images, asynchronously."""
        return values.to(self.device, non_blocking=True)


def _swap(
    masks: Integer[Tensor, "B H W"], mirrored_labels: Int[Tensor, " values"]
) -> Integer[Tensor, "B H W"]:
    count = 256 if masks.dtype == torch.uint8 else 65_536
    values = torch.arange(count, device=masks.device)
    known = mirrored_labels[:count]
    values[: len(known)] = known
    return values.to(masks.dtype)[masks.long()]


def _centers(side: int, drawn: _Draws) -> Float[Tensor, " side"]:
    """Coordinates of the pixel centers along a side, in -1..1."""
    return (2 * torch.arange(side, device=drawn.device) + 1) / side - 1
