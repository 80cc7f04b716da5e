"""Images that are files, Pillow images, arrays or tensors, as RGB pixels."""

from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image
from torch import Tensor

from hieraseg.data.images import convert_image, read_image
from hieraseg.errors import DataError
from hieraseg.files.paths import expanded

ImageLike = str | PathLike[str] | Image.Image | np.ndarray | Tensor

_CHANNELS = (1, 3, 4)
_DARK = 4096  # values below are those of 12 bits or fewer


def as_rgb(image: ImageLike) -> UInt8[np.ndarray, "H W 3"]:
    """The RGB pixels of an image, by the rules of `read_image`.

    Args:
        image: one of

            * the path of a file;
            * a Pillow image, which is turned upright as its EXIF orientation says;
            * an array `[H, W]`, `[H, W, 1]`, `[H, W, 3]` or `[H, W, 4]`, with channels in the order
              red, green, blue, alpha;
            * a tensor `[H, W]`, `[1, H, W]`, `[3, H, W]` or `[4, H, W]`.

            Arrays and tensors are uint8, uint16, or floats in 0..1. Of 16 bits the upper 8 are
            taken, floats are multiplied by 255, gray is repeated, and alpha is dropped.

    Returns:
        A copy.

    Raises:
        DataError: a file cannot be read, or the shape, type or range has no rule.
    """
    if isinstance(image, str | PathLike):
        return read_image(expanded(Path(image)))
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if isinstance(image, Tensor):
        return _to_rgb(_channels_last(image))
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"image: is a {type(image).__name__}; expected a path, a Pillow image, an array "
            "(height, width, 3) or a tensor (3, height, width)"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in _CHANNELS):
        fix = "pass one image as (height, width, 3)"
        if image.ndim == 3 and image.shape[0] in _CHANNELS:
            fix = "its channels come first, so pass image.transpose(1, 2, 0)"
        raise DataError(f"image: an array of shape {image.shape} is not an image; {fix}")
    return _to_rgb(image)


def _of_pillow(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    rgb = convert_image(image, getattr(image, "filename", "") or "image")
    if not rgb.size:
        raise DataError(f"image: has no pixels (size {image.size})")
    if image.mode.startswith("I;16"):
        _check_range(np.asarray(image))
    return rgb


def _channels_last(image: Tensor) -> Shaped[np.ndarray, "H W *channels"]:
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[0] not in _CHANNELS):
        fix = "pass one image as (3, height, width)"
        if image.ndim == 3 and image.shape[2] in _CHANNELS:
            fix = "its channels come last, so pass image.permute(2, 0, 1)"
        raise DataError(f"image: a tensor of shape {tuple(image.shape)} is not an image; {fix}")
    image = image.detach().cpu()
    if image.is_floating_point():
        image = image.float()  # NumPy has no bfloat16
    return (image if image.ndim == 2 else image.permute(1, 2, 0)).numpy()


def _to_rgb(pixels: Shaped[np.ndarray, "H W *channels"]) -> UInt8[np.ndarray, "H W 3"]:
    if not pixels.size:
        raise DataError(f"image: has no pixels (shape {pixels.shape})")
    values = _to_bytes(pixels)
    if values.ndim == 2:
        values = values[..., None]
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values[..., :3].copy()


def _to_bytes(pixels: Shaped[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    if pixels.dtype == np.uint8:
        return pixels
    _check_range(pixels)
    if pixels.dtype.kind == "u":
        return (pixels >> 8).astype(np.uint8)
    return (pixels * 255).round().astype(np.uint8)


def _check_range(pixels: Shaped[np.ndarray, "*shape"]) -> None:
    """Raise DataError unless it is known which value is white, of other types than uint8."""
    kind = pixels.dtype
    is_uint16 = kind.newbyteorder("=") == np.uint16
    if not (is_uint16 or kind.kind == "f"):
        raise DataError(f"image: {kind} has no known range; convert the values to uint8")
    lowest, highest = pixels.min(), pixels.max()
    if is_uint16:
        # 16 bits often hold the values of 8 to 12, of which the upper 8 would be nearly black.
        if 0 < highest < _DARK:
            raise DataError(
                f"image: the largest value of its 16 bits is {highest}, which is nearly black; "
                "scale the values to 0..65535, or convert them to uint8"
            )
    elif not (lowest >= 0 and highest <= 1):  # NaN is neither
        raise DataError(
            f"image: floats must be in 0..1, got {lowest:g}..{highest:g}; scale them, or convert "
            "them to uint8"
        )
