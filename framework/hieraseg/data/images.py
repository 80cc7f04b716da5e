"""Image files and their pixels."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from hieraseg.errors import DataError

# What Pillow raises for a file that is damaged, no picture, or absurdly large.
UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
)


def resize(
    pixels: UInt8[np.ndarray, "H W *channels"],
    size: tuple[int, int],
    resampling: Image.Resampling,
) -> UInt8[np.ndarray, "h w *channels"]:
    """Pixels resized to (height, width)."""
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], resampling))


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """RGB pixels, turned upright as the camera noted.

    Raises:
        DataError: no such file, or no image.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error
