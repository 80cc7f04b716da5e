"""Random changes of a whole batch, on the device that trains.

What is drawn depends on the generator alone and is drawn for the batch of all processes, of which
each takes its share: one process or eight, an image is changed in the same way. The noise is the
exception: each process draws its own.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from hieraseg.processes import own_share

_NUMBERS = 20  # drawn per image
_GRAY = (0.299, 0.587, 0.114)
# RGB -> YIQ, where a change of hue is a rotation of the last two axes (NTSC, FCC 1953).
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


class Augmentation:
    """Random crop, flip, shift/scale/rotate, colour or noise, and blur, each with its probability.

    The geometric changes are composed into one sampling of the image (bilinear) and of the mask
    (nearest); what lies outside the image is its reflection.

    Args:
        crop: probability of a random resized crop.
        flip: probability of a horizontal flip.
        affine: probability of a shift, scale and rotation about the centre.
        photometric: probability of a change of colour or, as often, of added noise.
        blur: probability of a Gaussian blur.
        crop_scale: smallest and largest area of the crop, as a share of the image.
        crop_ratio: smallest and largest change of the aspect ratio by the crop.
        shift: largest shift, as a share of the width and height.
        scale: largest relative change of scale.
        rotate: largest angle in degrees.
        brightness: largest relative change of brightness.
        contrast: largest relative change of contrast.
        saturation: largest relative change of saturation.
        hue: largest change of hue, as a share of the colour circle.
        noise: largest standard deviation of the noise, where white is 1.
        blur_sigma: smallest and largest standard deviation of the blur in pixels.
    """

    def __init__(
        self,
        crop: float = 0.5,
        flip: float = 0.5,
        affine: float = 0.5,
        photometric: float = 0.5,
        blur: float = 0.5,
        crop_scale: tuple[float, float] = (0.8, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        shift: float = 0.1,
        scale: float = 0.15,
        rotate: float = 30.0,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.05,
        noise: float = 0.05,
        blur_sigma: tuple[float, float] = (0.1, 1.5),
    ) -> None:
        probabilities = {
            "crop": crop,
            "flip": flip,
            "affine": affine,
            "photometric": photometric,
            "blur": blur,
        }
        for key, value in probabilities.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{key} is {value}, but a probability lies between 0 and 1")
        changes = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        for key, value in {**changes, "hue": hue, "shift": shift, "noise": noise}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{key} is {value}, but lies between 0 and 1")
        if not 0 < crop_scale[0] <= crop_scale[1] <= 1:
            raise ValueError(f"crop_scale is {crop_scale}, but needs 0 < smallest <= largest <= 1")
        if not 0 < crop_ratio[0] <= crop_ratio[1]:
            raise ValueError(f"crop_ratio is {crop_ratio}, but needs 0 < smallest <= largest")
        if not 0 <= scale < 1:
            raise ValueError(f"scale is {scale}, but lies between 0 and 1 (1 excluded)")
        if not 0 < blur_sigma[0] <= blur_sigma[1]:
            raise ValueError(f"blur_sigma is {blur_sigma}, but needs 0 < smallest <= largest")
        self.probabilities = probabilities
        self.crop_scale, self.crop_ratio = crop_scale, crop_ratio
        self.shift, self.scale, self.rotate = shift, scale, math.radians(rotate)
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.hue, self.noise, self.blur_sigma = hue * 2 * math.pi, noise, blur_sigma

    def __call__(
        self,
        images: UInt8[Tensor, "B 3 H W"],
        masks: UInt8[Tensor, "B H W"],
        generator: torch.Generator,
        rank: int = 0,
        processes: int = 1,
        mirrored_labels: Int[Tensor, " values"] | None = None,
    ) -> tuple[Float[Tensor, "B 3 H W"], UInt8[Tensor, "B H W"]]:
        """Changed copies of the images, in 0..1, and of their masks.

        Args:
            images: this process's share of the batch.
            masks: their label values.
            generator: of the CPU, the same on every process (see `batches.generator`).
            rank: of this process.
            processes: how many share the batch.
            mirrored_labels: the label value that a flip makes of each, where the class tree has
                left and right classes (see `Hierarchy`); values beyond it stay.
        """
        drawn = _Draws(generator, len(images), rank, processes, images.device)
        pixels = images.float().div_(255)
        pixels, masks = self._geometry(pixels, masks, drawn, mirrored_labels)
        pixels = self._photometry(pixels, drawn)
        return self._blur(pixels, drawn), masks

    def _geometry(
        self,
        images: Float[Tensor, "B 3 H W"],
        masks: UInt8[Tensor, "B H W"],
        drawn: "_Draws",
        mirrored_labels: Int[Tensor, " values"] | None,
    ) -> tuple[Float[Tensor, "B 3 H W"], UInt8[Tensor, "B H W"]]:
        height, width = images.shape[-2:]
        crop, flip = self._crop(drawn), self._flip(drawn)
        # Each maps output to input coordinates in -1..1, so the last change comes first.
        theta = crop @ flip @ self._affine(drawn, height / width)
        if not any(self.probabilities[key] for key in ("crop", "flip", "affine")):
            return images, masks
        theta = drawn.to_device(theta[:, None, None, :2])
        x, y = _centres(width, drawn)[:, None], _centres(height, drawn)[:, None, None]
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
            flipped = drawn.to_device(flip[:, 0, 0] < 0)
            masks = torch.where(flipped[:, None, None], _swap(masks, mirrored_labels), masks)
        return images, masks

    def _crop(self, drawn: "_Draws") -> Float[Tensor, "B 3 3"]:
        chosen = drawn.chosen(self.probabilities["crop"])
        area = drawn.uniform(*self.crop_scale)
        ratio = drawn.uniform(math.log(self.crop_ratio[0]), math.log(self.crop_ratio[1])).exp()
        ratio = ratio.clamp(area, 1 / area)  # a crop as wide or as high as the image, at most
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
        # Coordinates run from -1 to 1 on both axes, so a rotation has to undo the aspect ratio.
        theta[:, 0, 0] = theta[:, 1, 1] = angle.cos() * zoom
        theta[:, 0, 1] = -angle.sin() * zoom * aspect
        theta[:, 1, 0] = angle.sin() * zoom / aspect
        theta[:, 0, 2] = drawn.uniform(-2 * self.shift, 2 * self.shift)
        theta[:, 1, 2] = drawn.uniform(-2 * self.shift, 2 * self.shift)
        return torch.where(chosen[:, None, None], theta, drawn.identity())

    def _photometry(
        self, images: Float[Tensor, "B 3 H W"], drawn: "_Draws"
    ) -> Float[Tensor, "B 3 H W"]:
        chosen = drawn.chosen(self.probabilities["photometric"])
        noisy = drawn.chosen(0.5)
        colour, contrast = self._colour_matrix(drawn)
        deviation = drawn.uniform(0, self.noise)
        coloured = (chosen & ~noisy).nonzero()[:, 0]
        if len(coloured):
            rows = drawn.to_device(coloured)
            pixels = images[rows]
            colour = drawn.to_device(colour[coloured])
            contrast = drawn.to_device(contrast[coloured])[:, None, None]
            gray = drawn.to_device(torch.tensor(_GRAY)) @ colour
            mean = (gray * pixels.mean(dim=(2, 3))).sum(1)[:, None, None]
            changed = torch.baddbmm(mean * (1 - contrast), colour * contrast, pixels.flatten(2))
            images[rows] = changed.view_as(pixels).clamp_(0, 1)
        noised = (chosen & noisy).nonzero()[:, 0]
        if len(noised):
            rows = drawn.to_device(noised)
            deviation = drawn.to_device(deviation[noised])[:, None, None, None]
            on_device = torch.Generator(images.device).manual_seed(drawn.noise_seed)
            shape = (len(rows), *images.shape[1:])
            noise = torch.randn(shape, generator=on_device, device=images.device)
            images[rows] = (images[rows] + noise * deviation).clamp_(0, 1)
        return images

    def _colour_matrix(self, drawn: "_Draws") -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, " B"]]:
        """Brightness, saturation and hue as one matrix on RGB; contrast apart, as it is affine."""
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
    """The random numbers of this process's images (B), out of those of the whole batch."""

    def __init__(
        self,
        generator: torch.Generator,
        images: int,
        rank: int,
        processes: int,
        device: torch.device,
    ) -> None:
        self.device = device
        self.noise_seed = int(torch.randint(1 << 62, (), generator=generator)) + rank
        # Filled row by row: an image's numbers do not depend on how many images follow it.
        numbers = torch.rand(images * processes, _NUMBERS, generator=generator)
        own = own_share(numbers, rank, processes)
        self.images, self.numbers = len(own), iter(own.unbind(1))

    def uniform(self, low: float, high: float) -> Float[Tensor, " B"]:
        return low + (high - low) * next(self.numbers)

    def chosen(self, probability: float) -> Bool[Tensor, " B"]:
        return self.uniform(0, 1) < probability

    def identity(self) -> Float[Tensor, "B 3 3"]:
        return torch.eye(3).repeat(self.images, 1, 1)

    def to_device(self, values: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The values where the images are; nothing waits for the copy."""
        return values.to(self.device, non_blocking=True)


def _swap(
    masks: UInt8[Tensor, "B H W"], mirrored_labels: Int[Tensor, " values"]
) -> UInt8[Tensor, "B H W"]:
    values = torch.arange(256, device=masks.device)
    known = mirrored_labels[:256]
    values[: len(known)] = known
    return values.to(masks.dtype)[masks.long()]


def _centres(side: int, drawn: _Draws) -> Float[Tensor, " side"]:
    """Where the pixels of a side lie, from -1 to 1."""
    return (2 * torch.arange(side, device=drawn.device) + 1) / side - 1
