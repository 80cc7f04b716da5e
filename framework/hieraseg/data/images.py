"""Reading and resizing of image and mask files."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from hieraseg.errors import DataError

# What Pillow raises for a file that is damaged, not an image, or absurdly large.
_UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
)
# NumPy parses headers with `ast`, which in Python 3.11 fails at random when several threads use
# it (python/cpython#106905).
_numpy_header = Lock()


def read_image(path: Path, apply_exif_orientation: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image file as RGB.

    Args:
        path: file in any format that Pillow reads.
        apply_exif_orientation: turn the image upright as its EXIF orientation says. Leave it off
            for images with a mask, since the mask has no EXIF data.

    Raises:
        DataError: the file does not exist or is not a readable image.
    """
    with _reading(path):
        image = _decode(path)
        if apply_exif_orientation:
            image = ImageOps.exif_transpose(image)
        return np.asarray(image.convert("RGB"))


def read_mask(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Read the label values of a mask.

    Args:
        path: a NumPy array of integers (`.npy`), or an image with one channel. Of an image with a
            palette, the labels are the palette's indices.

    Raises:
        DataError: the file does not exist, is damaged, or is not a mask.
    """
    if path.suffix == ".npy":
        return _read_array_mask(path)
    with _reading(path):
        image = _decode(path)
    if image.mode not in ("L", "P", "1"):
        raise DataError(
            f"{path}: an image of mode {image.mode} is not a mask; "
            "save label values as a grayscale or palette PNG"
        )
    return np.asarray(image).astype(np.uint8)


def resize(
    pixels: UInt8[np.ndarray, "H W *channels"],
    size: tuple[int, int],
    resampling: Image.Resampling,
) -> UInt8[np.ndarray, "h w *channels"]:
    """Resize an image or mask.

    Args:
        pixels: uint8 `[H, W, 3]` or `[H, W]`.
        size: target height and width.
        resampling: Pillow's filter. Masks need `NEAREST`.
    """
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], resampling))


def _decode(path: Path) -> Image.Image:
    # From memory and at once: Pillow keeps files open, and decodes them when pixels are needed.
    image = Image.open(io.BytesIO(path.read_bytes()))
    image.load()
    return image


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors of Pillow into DataError."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except _UNREADABLE as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{path}: is damaged ({reason}); copy the file again") from error


def _read_array_mask(path: Path) -> UInt8[np.ndarray, "H W"]:
    try:
        data = io.BytesIO(path.read_bytes())
        with _numpy_header:
            mask = np.lib.format.read_array(data, allow_pickle=False)
    except Exception as error:  # NumPy parses a damaged header until anything goes wrong
        reason = "it needs pickle" if "pickle" in str(error) else str(error)
        raise DataError(
            f"{path}: cannot be read ({reason}); save the mask as a uint8 array with np.save"
        ) from error
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise DataError(
            f"{path}: a {mask.dtype} array of shape {mask.shape} is not a mask; "
            "save a uint8 array of shape (height, width)"
        )
    if mask.size and not 0 <= mask.min() <= mask.max() <= 255:
        raise DataError(f"{path}: labels must be in 0..255; save the mask as a uint8 array")
    return mask.astype(np.uint8)
