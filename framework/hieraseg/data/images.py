"""Reading and resizing of image and mask files."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped, UInt, UInt8
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from hieraseg.errors import DataError

VERSION = 3
"""Increase it when files are read as other pixels than before: stores depend on it."""

_LARGEST_LABEL = np.iinfo(np.uint16).max
_CHANGES_LABELS = {
    **dict.fromkeys(("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF"), "compression"),
    "GIF": "palette",  # Pillow saves it without the colors that no pixel has
}
_WITHOUT_LIBTIFF = (1, 32_773)  # compression of a TIFF that Pillow decodes itself: none, PackBits
_LISTED = 8  # colors in one message
_COLOR_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")
# Python's warning filters, and NumPy's parser of headers (python/cpython#106905, in Python 3.11),
# are not thread-safe.
_warning_filters = Lock()
_numpy_header = Lock()


def read_image(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image file as RGB, upright.

    * The EXIF orientation is applied, as viewers do. Damaged EXIF data is ignored.
    * Of 16 bits the upper 8 are taken (`value >> 8`). Floats in 0..1 are multiplied by 255.
      Other floats and 32-bit integers have no known range, and are refused.
    * Transparency is dropped, CMYK is converted without a color profile, and of several frames
      the first one is read. A TIFF with other bands than colors and transparency is refused.

    Args:
        path: file in any format that Pillow reads, with at most `PIL.Image.MAX_IMAGE_PIXELS`.

    Raises:
        DataError: the file does not exist, is damaged, too large, or has pixels without a rule.
    """
    path = Path(path)
    with _reading(path):
        image, encoding = _decode(path)
        return _upright(_rgb(image, encoding, path), image)


def count_pixels(path: str | Path) -> int:
    """Number of pixels of an image file, from its header; 0 if that cannot be read."""
    try:
        with _filtered_warnings(), Image.open(path) as image:
            return image.width * image.height
    except Exception:  # what is wrong with it is said when it is read
        return 0


def convert_image(image: Image.Image, name: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Convert an image that Pillow has opened or made, by the rules of `read_image`.

    Args:
        image: the image, which stays as it is.
        name: what it is called in error messages.

    Raises:
        DataError: it is damaged, too large, or has pixels without a rule.
    """
    path = Path(name)
    with _reading(path):
        encoding = _encoding_of(image)  # before its tiles are decoded
        image.load()
        return _upright(_rgb(image, encoding, path), image)


def read_mask(path: str | Path) -> UInt[np.ndarray, "H W"]:
    """Read the label values of a mask, as they are stored.

    A gray PNG of 1, 2 or 4 bits has labels from 0 to 1, 3 or 15. Of an image with a palette, the
    labels are the palette's indices.

    Args:
        path: a NumPy array of integers (`.npy`), or a lossless image with one channel.

    Returns:
        uint8, or uint16 for 16-bit images and for arrays with labels above 255.

    Raises:
        DataError: the file does not exist, is damaged, or is not a mask.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return _read_array_mask(path)
    with _reading(path):
        image, encoding = _decode(path)
        return _upright(_labels(image, encoding, path), image)


def read_color_mask(
    path: str | Path, colors: Mapping[tuple[int, int, int], int]
) -> UInt[np.ndarray, "H W"]:
    """Read a mask whose classes are written as colors.

    A palette's indices and transparency do not count.

    Args:
        path: a lossless image with at most 8 bits per channel.
        colors: label value, in 0..65535, of each color (red, green, blue).

    Returns:
        Label values: uint8 if all of `colors` fit, else uint16.

    Raises:
        DataError: the file does not exist, is damaged or no such image, or has another color.
    """
    path = Path(path)
    with _reading(path):
        image, encoding = _decode(path)
        return _values_of_colors(_upright(_colors(image, encoding, path), image), colors, path)


def resize(
    pixels: UInt[np.ndarray, "H W *channels"],
    size: tuple[int, int],
    resampling: Image.Resampling,
) -> UInt[np.ndarray, "h w *channels"]:
    """Resize an image or mask.

    Args:
        pixels: uint8 `[H, W, 3]`, or uint8 or uint16 `[H, W]`.
        size: target height and width.
        resampling: Pillow's filter. Masks need `NEAREST`.
    """
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], resampling))


class _Encoding(NamedTuple):
    """How a file stores its pixels, which Pillow tells before it decodes them.

    Attributes:
        bits: bits of a stored value where they differ from those of Pillow's mode, else 0.
        largest: value that is stored for white; 0 if Pillow does not scale the pixels.
        inverted: whether 0 is stored for white.
    """

    bits: int
    largest: int
    inverted: bool


def _decode(path: Path) -> tuple[Image.Image, _Encoding]:
    # From memory and at once: Pillow keeps files open, and decodes them when pixels are needed.
    content = io.BytesIO(path.read_bytes())
    with _filtered_warnings():
        image = Image.open(content)
    if image.format == "EPS":
        raise UnidentifiedImageError  # a program, which Pillow gives to Ghostscript
    encoding = _encoding_of(image)
    image.load()
    return image, encoding


def _encoding_of(image: Image.Image) -> _Encoding:
    tiles = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ()
    if not isinstance(arguments, tuple):
        arguments = (arguments,)
    raw = arguments[0] if arguments and isinstance(arguments[0], str) else ""
    bits = re.search(r"\d+", raw.partition(";")[2])
    count = int(bits[0]) if bits else 0
    largest = 2**count - 1 if image.mode == "L" and count else 0
    if image.format == "PPM" and len(arguments) > 1 and image.mode in ("L", "I"):
        largest = arguments[1]
    inverted = re.search(r";\d*I", raw) is not None
    return _Encoding(count, largest, inverted)


def _rgb(image: Image.Image, encoding: _Encoding, path: Path) -> UInt8[np.ndarray, "H W 3"]:
    mode = image.mode
    _check_bands(image, path)
    _check_planes(image, path)
    if mode.startswith(("I", "F")) and _is_white_zero(image):
        raise DataError(f"{path}: the image is stored inverted, with 0 for white; save it as a PNG")
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        shift = (encoding.bits if encoding.bits == 12 else 16) - 8
        return _repeat((np.asarray(image) >> shift).astype(np.uint8))
    if mode == "F":
        values = np.asarray(image)
        if not ((values >= 0) & (values <= 1)).all():
            raise DataError(
                f"{path}: floats of an image must be in 0..1, got {values.min():g}.."
                f"{values.max():g}; scale them, or save 8 bits per channel"
            )
        return _repeat((values * 255).round().astype(np.uint8))
    if mode in ("I", "LAB"):
        raise DataError(
            f"{path}: an image of mode {mode} has no known range; save 8 bits per channel"
        )
    if "transparency" in image.info:  # of which Pillow warns
        image = image.copy()
        del image.info["transparency"]
    return np.array(image.convert("RGB"))


def _check_bands(image: Image.Image, path: Path) -> None:
    """Refuse a TIFF with bands, such as infrared, that Pillow leaves out or takes for alpha."""
    tags = getattr(image, "tag_v2", {})
    bands = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    others = tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    is_rgb = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 2
    if is_rgb and bands > 3 + len(others):  # Pillow takes those that have no kind for padding
        others = (0,) * (bands - 3)
    if len(others) > 1 or 0 in others:  # 0: unspecified data, 1 and 2: alpha
        colors = bands - len(others)
        raise DataError(
            f"{path}: the image has {bands} bands, of which {colors} {_are(colors)}; save "
            "the three that the model should see as an RGB image"
        )


def _are(colors: int) -> str:
    return "is a color" if colors == 1 else "are colors"


def _check_planes(image: Image.Image, path: Path) -> None:
    """Refuse a TIFF whose bands of 16 bits lie one after the other, of which Pillow reads bytes."""
    tags = getattr(image, "tag_v2", {})
    is_separate = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2
    is_read_by_pillow = tags.get(TiffImagePlugin.COMPRESSION, 1) in _WITHOUT_LIBTIFF
    if is_separate and is_read_by_pillow and max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8:
        raise DataError(
            f"{path}: the bands of more than 8 bits are stored one after the other, which Pillow "
            "reads wrongly; save it as a PNG, or with the bands of each pixel side by side"
        )


def _is_white_zero(image: Image.Image) -> bool:
    """Whether a TIFF stores 0 for white, which Pillow converts only if it has up to 8 bits."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0


def _repeat(gray: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    return np.repeat(gray[..., None], 3, axis=2)


def _labels(image: Image.Image, encoding: _Encoding, path: Path) -> UInt[np.ndarray, "H W"]:
    values = np.array(image)
    if image.format in _CHANGES_LABELS:
        raise DataError(
            f"{path}: a {image.format} file is not a mask, since its "
            f"{_CHANGES_LABELS[image.format]} changes labels; "
            "save label values as a grayscale or palette PNG"
        )
    if encoding.inverted:
        raise DataError(
            f"{path}: the mask is stored inverted, with 0 for white; save it as a grayscale PNG"
        )
    if encoding.largest:
        white = 255 if image.mode == "L" else _LARGEST_LABEL
        values = np.rint(values * (encoding.largest / white)).astype(np.int64)
    elif image.mode in ("1", "L", "P"):
        return values.astype(np.uint8)
    elif image.mode.startswith("I;16"):
        return values.astype(np.uint16)
    elif image.mode != "I":
        fix = ", or name the classes of its colors (`colors`)" if image.mode in _COLOR_MODES else ""
        raise DataError(
            f"{path}: an image of mode {image.mode} is not a mask; "
            f"save label values as a grayscale or palette PNG{fix}"
        )
    return _narrow(values, path)


def _colors(image: Image.Image, encoding: _Encoding, path: Path) -> UInt8[np.ndarray, "H W 3"]:
    if _CHANGES_LABELS.get(image.format or "") == "compression":
        raise DataError(
            f"{path}: a {image.format} file is not a mask, since its compression changes colors; "
            "save colors as a PNG"
        )
    if image.mode not in _COLOR_MODES or encoding.bits > 8:
        bits = f" with {encoding.bits} bits" if encoding.bits > 8 else ""
        raise DataError(
            f"{path}: an image of mode {image.mode}{bits} is no mask of colors; save RGB with 8 "
            "bits per channel as a PNG, or label values without a table of colors"
        )
    _check_planes(image, path)
    image.info.pop("transparency", None)
    return np.array(image.convert("RGB"))


def _values_of_colors(
    pixels: UInt8[np.ndarray, "H W 3"], colors: Mapping[tuple[int, int, int], int], path: Path
) -> UInt[np.ndarray, "H W"]:
    # One number per color, and one entry per possible color: untouched ones cost no memory.
    numbers = pixels[..., 0].astype(np.int32)
    for channel in (1, 2):
        numbers <<= 8
        numbers |= pixels[..., channel]
    places = np.zeros(2**24, np.uint32)
    for place, (red, green, blue) in enumerate(colors, 1):
        places[red << 16 | green << 8 | blue] = place
    found = places[numbers]
    if not found.all():
        raise DataError(f"{path}: {_unknown_colors(pixels, found > 0)}")
    dtype = np.uint8 if max(colors.values(), default=0) < 256 else np.uint16
    return np.array([0, *colors.values()], dtype)[found]


def _unknown_colors(pixels: UInt8[np.ndarray, "H W 3"], known: Bool[np.ndarray, "H W"]) -> str:
    """A sentence on the colors of unknown pixels: where the first is, and some of the others."""
    row, column = np.argwhere(~known)[0].tolist()
    first = pixels[row, column]
    is_first = (pixels == first).all(-1)
    others = np.unique(pixels[~known & ~is_first], axis=0).tolist()
    listed = ", ".join(map(str, others[:_LISTED])) + (", ..." if len(others) > _LISTED else "")
    also, fix = (f" (nor are {listed})", "add them") if others else ("", "add it")
    return (
        f"the color {first.tolist()}, at row {row}, column {column} and in {is_first.sum()} "
        f"pixels, is not in the table of colors{also}; {fix}, or fix the mask"
    )


def _upright(
    pixels: Shaped[np.ndarray, "_ _ *channels"], image: Image.Image
) -> Shaped[np.ndarray, "_ _ *channels"]:
    """Turn decoded pixels as the EXIF orientation of their image says."""
    try:
        with _filtered_warnings():
            orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF data fails anywhere in Pillow's parser
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


@contextmanager
def _filtered_warnings() -> Iterator[None]:
    """Raise Pillow's warning of images that are too large, and ignore all others."""
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors of reading a file and of Pillow into DataError."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError, MemoryError) as error:
        limit = f"{Image.MAX_IMAGE_PIXELS or 0:,}"
        reason = "needs more memory than there is" if isinstance(error, MemoryError) else ""
        raise DataError(
            f"{path}: {reason or f'is larger than {limit} pixels'}; make the image smaller"
        ) from error
    except UnidentifiedImageError as error:
        bands = _tiff_bands(path)
        if bands > 1:
            raise DataError(
                f"{path}: is a TIFF with {bands} bands of a kind that Pillow does not read; save "
                "the three that the model should see as an RGB image, and a mask with one band"
            ) from error
        raise DataError(
            f"{path}: is damaged, or not an image that Pillow reads; copy the file again, or "
            "save it as an RGB PNG"
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        raise DataError(f"{path}: is damaged ({error}); copy the file again") from error
    except Exception as error:  # Pillow's decoders fail in any way on damaged files
        raise DataError(f"{path}: is damaged ({error}); copy the file again") from error


def _tiff_bands(path: Path) -> int:
    """Number of bands of a TIFF, whether or not Pillow reads its pixels; 0 for other files."""
    try:
        with _filtered_warnings(), path.open("rb") as file:
            header = file.read(8)
            header += file.read(8) if header[2:3] == b"+" else b""  # BigTIFF
            directory = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(directory.next)
            directory.load(file)
            return int(directory.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
    except Exception:  # any other file, or a damaged one
        return 0


def _read_array_mask(path: Path) -> UInt[np.ndarray, "H W"]:
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
            "save a uint8 array of shape (height, width), with one label per pixel"
        )
    return _narrow(mask, path)


def _narrow(mask: Shaped[np.ndarray, "H W"], path: Path) -> UInt[np.ndarray, "H W"]:
    """The same labels as uint8 if they fit, else as uint16."""
    if mask.dtype in (np.uint8, np.uint16):
        return mask.astype(mask.dtype.newbyteorder("="), copy=False)
    lowest, highest = (int(mask.min()), int(mask.max())) if mask.size else (0, 0)
    if not 0 <= lowest <= highest <= _LARGEST_LABEL:
        raise DataError(
            f"{path}: labels must be in 0..{_LARGEST_LABEL}, got {lowest}..{highest}; "
            "save the mask as a uint8 or uint16 array"
        )
    return mask.astype(np.uint8 if highest <= 255 else np.uint16)
